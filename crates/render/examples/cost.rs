//! What rendering costs: an overlay of 1,000 objects (or as many as are asked for) with a prefix, a namespace, labels,
//! images, replicas, patches, generators and references, from memory. Prints milliseconds, the best and the middle run.
//!
//! `cost [OBJECTS] [RUNS]`

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use lockstep_app::{Source, SourceType};
use lockstep_render::{Limits, print, render};
use lockstep_tree::Tree;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: usize| -> Result<usize, std::num::ParseIntError> {
        arguments.next().map_or(Ok(usual), |text| text.parse())
    };
    let (objects, runs) = (number(1000)?, number(30)?.max(1));
    let files = files(objects / 4);
    let tree = Tree::from_files(
        files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    let source = Source {
        remote: "https://git.example.com/shop".parse()?,
        target: String::new(),
        path: "overlay".to_owned(),
        kind: SourceType::Kustomize(Box::default()),
    };
    let mut out = std::io::stdout();
    let limits = Limits::default();
    let (mut rendering, mut printing) = (Vec::new(), Vec::new());
    let (mut count, mut leaves, mut bytes) = (0, 0, 0);
    for _ in 0..runs {
        let begun = Instant::now();
        let rendered = render(&source, &tree, &limits)?;
        rendering.push(begun.elapsed());
        let begun = Instant::now();
        black_box(print(&rendered));
        printing.push(begun.elapsed());
        count = rendered.manifests.len();
        leaves = rendered
            .manifests
            .iter()
            .map(|manifest| manifest.places().leaves().count())
            .sum();
        let sizes = rendered.manifests.iter();
        bytes = sizes.map(|manifest| manifest.places().size()).sum();
    }
    writeln!(
        out,
        "{count} objects, {leaves} leaves, {bytes} bytes of places, {runs} runs"
    )?;
    for (what, mut times) in [("render", rendering), ("print", printing)] {
        times.sort();
        let millis = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
        let (best, middle) = (millis(times.first()), millis(times.get(times.len() / 2)));
        writeln!(out, "{what}: best {best:.2} ms, middle {middle:.2} ms")?;
    }
    Ok(())
}

/// A base of `apps` times four objects, and the overlay over it.
fn files(apps: usize) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut base = "resources:\n".to_owned();
    let mut overlay = "resources: [../base]\nnamePrefix: prod-\nnamespace: shop\nlabels:\n- pairs: {team: shop, tier: web}\n  includeSelectors: true\nimages:\n- name: registry.example.com/web\n  newTag: 2.0.1\npatches:\n".to_owned();
    let (mut replicas, mut maps) = ("replicas:\n".to_owned(), "configMapGenerator:\n".to_owned());
    for app in 0..apps {
        let name = format!("web-{app:04}");
        let _ = writeln!(base, "- {name}.yaml");
        files.push((format!("base/{name}.yaml"), object(&name)));
        if app % 4 == 0 {
            let _ = writeln!(overlay, "- path: patch-{name}.yaml");
            files.push((format!("overlay/patch-{name}.yaml"), patch(&name)));
        }
        if app % 5 == 0 {
            let _ = writeln!(replicas, "- {{name: {name}, count: 5}}");
        }
        let _ = writeln!(
            maps,
            "- name: {name}-settings\n  literals: [LOG=info, MODE=fast]"
        );
    }
    overlay.push_str("- target: {kind: Deployment}\n  patch: |-\n    - op: replace\n      path: /spec/template/spec/containers/0/resources/limits/memory\n      value: 256Mi\n");
    overlay.push_str(&replicas);
    overlay.push_str(&maps);
    files.push(("base/kustomization.yaml".to_owned(), base));
    files.push(("overlay/kustomization.yaml".to_owned(), overlay));
    files
}

fn object(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  replicas: 2
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      serviceAccountName: {name}
      containers:
      - name: web
        image: registry.example.com/web:1.4.2
        args: [--listen, ':8080', --verbose]
        ports:
        - containerPort: 8080
          name: http
        envFrom:
        - configMapRef: {{name: {name}-settings}}
        env:
        - name: REGION
          value: eu-1
        - name: ZONE
          value: a
        resources:
          requests: {{cpu: 100m, memory: 64Mi}}
          limits: {{memory: 128Mi}}
        readinessProbe:
          httpGet: {{path: /ready, port: http}}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports:
  - name: http
    port: 80
    targetPort: http
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
"
    )
}

fn patch(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      containers:
      - name: web
        env:
        - name: REGION
          value: us-2
        resources:
          limits: {{memory: 512Mi}}
"
    )
}
