//! Generated kustomizations: a base of some objects, and an overlay that does to them what overlays do.
//!
//! The renderer's own benches take this file in, too, so it needs nothing beside the standard library.

use std::fmt::Write as _;

/// Files of a tree: path and contents.
pub type Files = Vec<(String, String)>;

/// A base of `objects` objects in files of ten, and an overlay in the folder `overlay` over it: prefix, namespace,
/// labels with selectors, annotations, images, a patch for all Deployments, one for each tenth object by its name, a
/// JSON patch, and a generator for each fiftieth. Of ten objects four are Deployments, three Services, two ConfigMaps
/// and one is an Ingress.
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

fn base(objects: usize) -> Files {
    let mut files = Files::new();
    let mut names = String::new();
    for (file, first) in (0..objects).step_by(10).enumerate() {
        let texts: Vec<String> = (first..objects.min(first + 10)).map(object).collect();
        files.push((format!("base/part-{file}.yaml"), texts.join("---\n")));
        let _ = writeln!(names, "- part-{file}.yaml");
    }
    let mut kustomization = format!("{HEAD}resources:\n{names}configMapGenerator:\n");
    for at in 0..generators(objects) {
        let _ = writeln!(
            kustomization,
            "- name: settings-{at}\n  literals: [LEVEL=info, PORT=\"{}\"]",
            8000 + at
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
         includeSelectors: true\ncommonAnnotations: {{owner: shop@example.com}}\nimages:\n- name: \
         registry.example.com/web\n  newTag: 2.1.0\n- name: registry.example.com/sidecar\n  newName: \
         mirror.example.com/sidecar\nconfigMapGenerator:\n"
    );
    for at in 0..generators(objects) {
        let _ = writeln!(
            text,
            "- name: settings-{at}\n  behavior: merge\n  literals: [LEVEL=warn]"
        );
    }
    text.push_str(
        "patches:\n- target: {kind: Deployment}\n  patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    \
         metadata: {name: any}\n    spec:\n      template:\n        spec:\n          containers:\n          - name: web\n            \
         resources: {limits: {memory: 256Mi}}\n- target: {kind: Ingress}\n  patch: |-\n    - op: replace\n      path: \
         /spec/rules/0/host\n      value: shop.example.com\n",
    );
    for at in (0..objects).step_by(10) {
        let _ = writeln!(
            text,
            "- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {{name: web-{at}}}\n    spec: \
             {{replicas: 3}}"
        );
    }
    text
}

fn object(at: usize) -> String {
    let (first, setting) = (at - at % 10, at / 50);
    match at % 10 {
        0..4 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-{at}\n  labels: {{app: web-{at}}}\nspec:\n  \
             replicas: 1\n  selector:\n    matchLabels: {{app: web-{at}}}\n  template:\n    metadata:\n      labels: \
             {{app: web-{at}}}\n    spec:\n      containers:\n      - name: web\n        image: \
             registry.example.com/web:1.0.0\n        ports:\n        - containerPort: 8080\n          name: http\n        \
             env:\n        - name: MODE\n          value: production\n        envFrom:\n        - configMapRef:\n            \
             name: settings-{setting}\n        resources:\n          requests: {{cpu: 100m, memory: 128Mi}}\n      - \
             name: sidecar\n        image: registry.example.com/sidecar:1.4\n"
        ),
        4..7 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: svc-{at}\nspec:\n  selector: {{app: web-{first}}}\n  \
             ports:\n  - name: http\n    port: 80\n    targetPort: http\n"
        ),
        7..9 => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: conf-{at}\ndata:\n  key: value-{at}\n  file.txt: |\n    \
             first line\n    second line\n"
        ),
        _ => format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: in-{at}\nspec:\n  rules:\n  - host: \
             base.example.com\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          \
             service:\n            name: svc-{}\n            port: {{name: http}}\n",
            first + 4
        ),
    }
}
