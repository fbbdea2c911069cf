//! YAML as people write it.
use super::yaml::{Content, Node, parse};
use super::*;

fn tree(text: &str) -> (Option<Node>, Vec<String>) {
    let mut problems = Vec::new();
    let node = parse(text, 0, &mut problems);
    let told = problems.into_iter().map(|mut problem| {
        problem.settle(&[PathBuf::from("c.yaml")]);
        problem.to_string()
    });
    (node, told.collect())
}

#[test]
fn every_key_and_value_has_its_place() {
    let (node, problems) = tree("log:\n  level: info\n  format: \"json\"\n");
    assert_eq!(problems, Vec::<String>::new());
    let node = node.unwrap();
    let format = node.child("log").unwrap().child("format").unwrap();
    assert_eq!((format.key_mark().line, format.key_mark().column), (3, 3));
    assert_eq!((format.mark.line, format.mark.column), (3, 11));
}

#[test]
fn plain_words_stay_words() {
    let (node, _) = tree("[on, yes, no, 1.2.3, 0x1f, -7, 1e3, '7', ~, true, !!str 7]");
    let Content::List(items) = node.unwrap().content else { panic!() };
    let kinds: Vec<&str> = items
        .iter()
        .map(|item| match item.content {
            Content::Text(_) => "text",
            Content::Integer(_) => "integer",
            Content::Float(_) => "float",
            Content::Null => "null",
            Content::Bool(_) => "bool",
            _ => "?",
        })
        .collect();
    let text = "text";
    assert_eq!(kinds, [text, text, text, text, "integer", "integer", "float", text, "null", "bool", text]);
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let (node, problems) = tree("base: &b {a: 1, b: 2}\nuse: {<<: *b, b: 3}\nagain: *b\n");
    assert_eq!(problems, Vec::<String>::new());
    let node = node.unwrap();
    let number = |path: [&str; 2]| match node.child(path[0]).unwrap().child(path[1]).unwrap().content {
        Content::Integer(number) => number,
        _ => panic!(),
    };
    assert_eq!((number(["use", "a"]), number(["use", "b"]), number(["again", "b"])), (1, 3, 2));
}

#[test]
fn what_is_refused() {
    for (text, expected) in [
        ("a: 1\na: 2\n", "c.yaml:2:1: `a` is written twice, first in line 1; expected each key once"),
        ("a: 1\n---\nb: 2\n", "c.yaml:2:1: a second YAML document begins here; expected one document a file"),
        (
            "a: !vault x\n",
            "c.yaml:1:4: a YAML tag means nothing here; expected `{env: NAME}` or `{file: PATH}` for a reference",
        ),
        ("? [a]\n: 1\n", "c.yaml:1:3: a key is a list or a map; expected text"),
        ("a: {<<: 1}\n", "c.yaml:1:5: `<<` merges something that is not a map; expected an alias of a map"),
    ] {
        assert_eq!(tree(text).1, [expected], "{text}");
    }
    let (node, problems) = tree("a: [1, 2\nb: }");
    assert!(node.is_none());
    assert!(problems[0].contains("this is not YAML"), "{problems:?}");
    let bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    assert!(tree(bomb).1[0].contains("more than 100000 values"));
    let deep = tree(&"[".repeat(10_000)).1;
    assert!(deep[0].contains("nested deeper") || deep[0].contains("not YAML"), "{deep:?}");
    let deep = tree(&format!("{}{}", "[".repeat(70), "]".repeat(70))).1;
    assert!(deep[0].contains("nested deeper than 64 levels"), "{deep:?}");
}
