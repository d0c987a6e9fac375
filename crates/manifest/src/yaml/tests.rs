use std::fmt::Write as _;

use serde_json::json;

use super::*;

fn one(dialect: Dialect, text: &str) -> Value {
    let mut nodes = read(text.as_bytes(), dialect, "t.yaml", &Limits::default()).expect("YAML");
    assert_eq!(nodes.len(), 1, "{text}");
    nodes.remove(0).to_value().expect("JSON")
}

fn fails(dialect: Dialect, text: &str, limits: &Limits) -> YamlError {
    read(text.as_bytes(), dialect, "t.yaml", limits).expect_err("it is refused")
}

#[test]
fn plain_words_mean_what_each_of_gos_readers_says() {
    let text = "a: yes\nb: 2001-01-01\nc: 0777\nd: 0o777\ne: 1_000\nf: 18446744073709551615\ng: ~\nh: .5\ni: 1e3\n\
                j: 12:30\nk: 0b101\nl: 0x1F\nm: 5.\nn: 08\n";
    assert_eq!(
        one(Dialect::Kustomize, text),
        json!({"a": "yes", "b": "2001-01-01T00:00:00Z", "c": 511, "d": 511, "e": 1000,
               "f": 18_446_744_073_709_551_615_u64, "g": null, "h": 0.5, "i": 1000, "j": "12:30", "k": 5, "l": 31,
               "m": 5, "n": 8})
    );
    let kubectl = one(Dialect::Kubectl, text);
    assert_eq!(kubectl["a"], json!(true));
    assert_eq!(kubectl["b"], json!("2001-01-01"));
    assert_eq!(kubectl["c"], json!(511));
    // A key `n` is a truth value as well.
    assert_eq!(kubectl["false"], json!(8));
}

#[test]
fn a_repeated_key_is_the_last_one_for_kubectl_and_an_error_inside_a_kustomization() {
    assert_eq!(one(Dialect::Kubectl, "a: 1\na: 2\n"), json!({"a": 2}));
    let error = fails(Dialect::Kustomize, "b: 0\na: 1\na: 2\n", &Limits::default());
    assert_eq!((error.line, error.column), (3, 1));
    assert!(error.message.contains("line 2"), "{error}");
    assert!(document(b"a: 1\na: 2\n", "c.yaml").is_err());
}

#[test]
fn anchors_and_merges_are_expanded_and_own_keys_win() {
    let text =
        "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nuse:\n  <<: [*b, *m]\n  x: 9\nlist: [*b]\n";
    let value = one(Dialect::Kustomize, text);
    assert_eq!(value["use"], json!({"x": 9, "y": 2, "z": 4}));
    assert_eq!(value["list"], json!([{"x": 1, "y": 2}]));
}

#[test]
fn documents_without_content_are_left_out() {
    let text = "# only a comment\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n";
    let nodes = read(text.as_bytes(), Dialect::Kustomize, "t", &Limits::default()).expect("YAML");
    assert_eq!(nodes.len(), 2);
    assert!(
        read(
            b"a: 1\n--- junk\n",
            Dialect::Kustomize,
            "t",
            &Limits::default()
        )
        .is_err()
    );
    assert!(
        read(
            b"%YAML 1.2\n---\na: 1\n",
            Dialect::Kustomize,
            "t",
            &Limits::default()
        )
        .is_err()
    );
}

#[test]
fn a_billion_laughs_are_stopped_by_the_budget() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let above = format!("*a{}", level - 1);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", vec![above; 9].join(", "));
    }
    let error = fails(Dialect::Kustomize, &text, &Limits::default());
    assert!(error.message.contains("values"), "{error}");
    let mut big = format!("a: &a {}\nlist:\n", "x".repeat(100_000));
    big.push_str(&"- *a\n".repeat(1000));
    let error = fails(Dialect::Kubectl, &big, &Limits::default());
    assert!(error.message.contains("bytes"), "{error}");
}

#[test]
fn anchors_inside_each_other_cost_what_each_keeps() {
    let mut open = String::new();
    for at in 0..90 {
        let _ = write!(open, "&a{at} [");
    }
    // 90 copies of 40,000 values, and no alias anywhere.
    let text = format!("{}{}{}\n", open, "1,".repeat(40_000), "]".repeat(90));
    let error = fails(Dialect::Kubectl, &text, &Limits::default());
    assert!(error.message.contains("2000000 values"), "{error}");
    let long = format!("{}\"{}\"{}\n", open, "x".repeat(1 << 20), "]".repeat(90));
    let error = fails(Dialect::Kubectl, &long, &Limits::default());
    assert!(error.message.contains("16777216 bytes"), "{error}");
}

#[test]
fn a_large_map_is_read_in_time_however_often_keys_come_again() {
    let mut text = String::new();
    for at in 0..100_000 {
        let _ = writeln!(text, "k{at}: 1");
    }
    text.push_str(&"k99999: 2\n".repeat(100_000));
    let value = one(Dialect::Kubectl, &text);
    assert_eq!(value["k99999"], json!(2));
    let mut text = "b: &b {x: 1}\nm:\n".to_owned();
    for at in 0..100_000 {
        let _ = writeln!(text, "  k{at}: 1");
    }
    let _ = writeln!(text, "  <<: [{}]", vec!["*b"; 100_000].join(", "));
    assert_eq!(one(Dialect::Kustomize, &text)["m"]["x"], json!(1));
}

#[test]
fn deep_nesting_is_refused_however_it_is_made() {
    let limits = Limits::default();
    assert!(
        read(
            "[".repeat(100_000).as_bytes(),
            Dialect::Kustomize,
            "t",
            &limits
        )
        .is_err()
    );
    assert!(
        read(
            "- ".repeat(100_000).as_bytes(),
            Dialect::Kustomize,
            "t",
            &limits
        )
        .is_err()
    );
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..500 {
        let _ = writeln!(text, "a{level}: &a{level} [*a{}]", level - 1);
    }
    let error = fails(Dialect::Kustomize, &text, &limits);
    assert!(error.message.contains("deeper"), "{error}");
    assert!(read(b"a: &a [*a]\n", Dialect::Kustomize, "t", &limits).is_err());
}

#[test]
fn limits_are_named_with_their_place() {
    let limits = Limits {
        bytes: 10,
        ..Limits::default()
    };
    assert!(
        fails(Dialect::Kubectl, &"x".repeat(11), &limits)
            .message
            .contains("limit of 10")
    );
    let limits = Limits {
        documents: 2,
        ..Limits::default()
    };
    assert!(
        fails(Dialect::Kubectl, "a\n---\nb\n---\nc\n", &limits)
            .message
            .contains("2 documents")
    );
    let error =
        read(b"a: \xff\n", Dialect::Kubectl, "t", &Limits::default()).expect_err("not UTF-8");
    assert_eq!(error.line, 1);
}

#[test]
fn every_value_knows_where_it_stands() {
    let document = document(b"a:\n  b: [1, 2]\n  c: {}\n", "c.yaml").expect("YAML");
    let at = |pointer: &str| document.place(pointer).map(|p| (p.line, p.column));
    assert_eq!(at("/a/b/1"), Some((2, 10)));
    assert_eq!(at("/a/c"), Some((3, 6)));
    assert_eq!(at("/a/c/missing"), Some((3, 6)));
    assert_eq!(at(""), Some((1, 1)));
    assert_eq!(
        super::document(b"# nothing\n", "c").expect("YAML").value,
        Value::Null
    );
}

#[test]
fn objects_are_read_with_the_places_of_their_leaves() {
    let text =
        b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  on: \"x\"\n---\n---\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
    let objects = read_objects(text, "a.yaml", &Limits::default()).expect("objects");
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0].place("/data/true").map(|p| p.line), Some(6));
    let error = read_yaml(b"kind: X\n").expect_err("no apiVersion");
    assert!(error.message.contains("apiVersion"), "{error}");
}

#[test]
fn keys_are_sorted_as_the_reference_does_and_cycles_always_alike() {
    let keys = [
        "alpha", "ab", "a10", "a09", "a9", "a_b", "a/b", "a.b", "a-b", "Alpha", "10", "09", "9",
        "_x",
    ];
    let sorted = order::sorted(keys.into_iter().map(|key| (key, ())).collect());
    let sorted: Vec<&str> = sorted.into_iter().map(|(key, ())| key).collect();
    assert_eq!(
        sorted,
        [
            "_x", "9", "09", "10", "Alpha", "a-b", "a.b", "a/b", "a_b", "a9", "a09", "a10", "ab",
            "alpha"
        ]
    );
    let cycle =
        |keys: [&'static str; 3]| order::sorted(keys.into_iter().map(|key| (key, ())).collect());
    assert_eq!(
        cycle(["v10", "v1beta1", "v2"]),
        cycle(["v2", "v10", "v1beta1"])
    );
}

#[test]
fn strings_are_quoted_when_they_would_be_read_as_something_else() {
    for (text, want) in [
        ("true", "\"true\""),
        ("y", "\"y\""),
        ("", "\"\""),
        ("0o17", "\"0o17\""),
        ("2020-01-01", "\"2020-01-01\""),
        ("190:20:30", "\"190:20:30\""),
        ("a: b", "'a: b'"),
        ("- a", "'- a'"),
        ("-a", "-a"),
        ("it's", "it's"),
        ("'x", "'''x'"),
        ("10.0.0.1", "10.0.0.1"),
        ("<<", "<<"),
        ("=", "="),
        ("a\tb", "\"a\\tb\""),
        ("\u{1F600}", "\"\\U0001F600\""),
        ("é", "é"),
        ("\u{feff}x", "\"\\uFEFF\\x78\""),
        (" x", "' x'"),
        ("a\nb", "|-\n  a\n  b"),
        ("a\n", "|\n  a"),
        ("a\n\n", "|+\n  a\n"),
        (" a\n", "|2\n   a"),
        ("a \nb", "\"a \\nb\""),
    ] {
        assert_eq!(print_value(&json!(text)), format!("{want}\n"), "{text:?}");
    }
}

#[test]
fn numbers_print_as_go_prints_them() {
    let text = "[1.50, 1.0, 1.5e-7, 0.00001, 100000000.5, 1e21, 123456.5, 1234567.5, 1e20, -0.0, 12300000000.0, \
                18446744073709551616]";
    let value = one(Dialect::Kustomize, text);
    assert_eq!(
        print_value(&value),
        "- 1.5\n- 1\n- 1.5e-07\n- 1e-05\n- 1.000000005e+08\n- 1e+21\n- 123456.5\n- 1.2345675e+06\n- 1e+20\n- 0\n\
         - 12300000000\n- 1.8446744073709552e+19\n"
    );
    let node = read(b"a: .inf", Dialect::Kustomize, "t", &Limits::default())
        .expect("YAML")
        .remove(0);
    assert!(node.to_value().is_err());
}

#[test]
fn nested_lists_and_maps_are_laid_out_as_the_reference_does() {
    let value = json!({"a": [[1, 2], {"b": [], "c": {"d": null}}], "e": {}});
    assert_eq!(
        print_value(&value),
        "a:\n- - 1\n  - 2\n- b: []\n  c:\n    d: null\ne: {}\n"
    );
}
