//! Generated kustomizations: a base of some objects, and an overlay that does to them what overlays do.
//!
//! The renderer's own benches take this file in, too, so it needs nothing beside the standard library.

use std::fmt::Write as _;

/// Files of a tree: path and contents.
pub type Files = Vec<(String, String)>;

/// A base of `objects` objects, and an overlay in the folder `overlay` over it.
///
/// The base has sets of four in a file each: a Deployment with its tier as a label, a Service, a ConfigMap of two keys
/// and a ServiceAccount; and a generator for each fifty objects. The overlay sets prefix, namespace, two labels with
/// selectors and 20 images, merges into each generated ConfigMap, has a JSON patch for every Deployment and a
/// strategic merge for one tier of seven.
pub fn overlay(objects: usize) -> Files {
    let mut files = base(objects);
    files.push((
        "overlay/kustomization.yaml".to_owned(),
        over(objects, "shop-"),
    ));
    files
}

/// One base of `objects` objects, and as many overlays over it, each in a folder `o0`, `o1` and so on.
pub fn many(overlays: usize, objects: usize) -> Files {
    let mut files = base(objects);
    for at in 0..overlays {
        let text = over(objects, &format!("t{at}-"));
        files.push((format!("o{at}/kustomization.yaml"), text));
    }
    files
}

/// Objects of one set.
const SET: usize = 4;

/// Images that the overlay names; the base uses each.
const IMAGES: usize = 20;

fn base(objects: usize) -> Files {
    let mut files = Files::new();
    let mut names = String::new();
    for first in (0..objects).step_by(SET) {
        let set = first / SET;
        let texts = (first..objects.min(first + SET)).map(object);
        let texts: Vec<String> = texts.collect();
        files.push((format!("base/set-{set}.yaml"), texts.join("---\n")));
        let _ = writeln!(names, "- set-{set}.yaml");
    }
    let mut kustomization = format!("{HEAD}resources:\n{names}configMapGenerator:\n");
    for at in 0..generators(objects) {
        let port = 8000 + at;
        let _ = writeln!(
            kustomization,
            "- name: settings-{at}\n  literals: [LEVEL=info, PORT=\"{port}\"]"
        );
    }
    files.push(("base/kustomization.yaml".to_owned(), kustomization));
    files
}

const HEAD: &str = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";

fn generators(objects: usize) -> usize {
    objects.div_ceil(50)
}

fn over(objects: usize, prefix: &str) -> String {
    let mut text = format!(
        "{HEAD}resources: [../base]\nnamePrefix: {prefix}\nnamespace: shop\nlabels:\n- pairs: {{team: shop, stage: prod}}\n  \
         includeSelectors: true\nimages:\n"
    );
    for at in 0..IMAGES {
        let _ = writeln!(
            text,
            "- name: registry.example.com/app-{at}\n  newTag: 2.{at}.0"
        );
    }
    text.push_str("configMapGenerator:\n");
    for at in 0..generators(objects) {
        let _ = writeln!(
            text,
            "- name: settings-{at}\n  behavior: merge\n  literals: [LEVEL=warn]"
        );
    }
    text.push_str(
        "patches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: replace\n      path: /spec/replicas\n      value: 3\n\
         - target: {kind: Deployment, labelSelector: tier=t3}\n  patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    \
         metadata: {name: any}\n    spec:\n      template:\n        spec:\n          containers:\n          - name: app\n            \
         resources: {limits: {memory: 256Mi}}\n",
    );
    text
}

fn object(at: usize) -> String {
    let (set, setting) = (at / SET, at / 50);
    let (tier, image) = (set % 7, set % IMAGES);
    match at % SET {
        0 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{set}\n  labels: {{app: app-{set}, tier: \
             t{tier}}}\nspec:\n  replicas: 1\n  selector:\n    matchLabels: {{app: app-{set}}}\n  template:\n    metadata:\n      \
             labels: {{app: app-{set}, tier: t{tier}}}\n    spec:\n      serviceAccountName: app-{set}\n      containers:\n      - \
             name: app\n        image: registry.example.com/app-{image}:1.0.0\n        ports:\n        - containerPort: \
             8080\n        env:\n        - name: MODE\n          valueFrom:\n            configMapKeyRef: {{name: app-{set}, \
             key: mode}}\n        envFrom:\n        - configMapRef: {{name: settings-{setting}}}\n        volumeMounts:\n        \
             - {{name: config, mountPath: /etc/app}}\n      volumes:\n      - name: config\n        configMap: {{name: \
             app-{set}}}\n"
        ),
        1 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: app-{set}\nspec:\n  selector: {{app: app-{set}}}\n  ports:\n  \
             - name: http\n    port: 80\n    targetPort: 8080\n"
        ),
        2 => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-{set}\ndata:\n  mode: production\n  file.txt: |\n    \
             first line\n    second line\n"
        ),
        _ => format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: app-{set}\n"),
    }
}
