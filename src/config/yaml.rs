//! YAML text to a tree that knows where each of its parts stands.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::problem::Problem;

/// A place in one of the files that were read: both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Mark {
    /// Which file: an index into the files of this load.
    pub(super) file: usize,
    /// The line.
    pub(super) line: usize,
    /// The column, in characters.
    pub(super) column: usize,
}

/// One value with its place, and the place of its key where it has one.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) key: Option<Mark>,
    pub(super) content: Content,
}

/// What a node holds. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) enum Content {
    Null,
    /// Written without quotes, and a boolean by YAML's core schema.
    Bool(bool),
    /// Written without quotes, and a number by YAML's core schema.
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of writing.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// An empty map that stands at `mark`.
    pub(super) fn map_at(mark: Mark) -> Self {
        Self { mark, key: None, content: Content::Map(Vec::new()) }
    }

    /// Where its key stands, else where it stands itself.
    pub(super) fn key_mark(&self) -> Mark {
        self.key.unwrap_or(self.mark)
    }

    /// The entries, where it is a map.
    pub(super) fn entries(&self) -> &[(String, Node)] {
        if let Content::Map(entries) = &self.content { entries } else { &[] }
    }

    /// The value of a key, where it is a map that has it.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    /// An item, where it is a list; the node itself stands for its only item.
    pub(super) fn item(&self, index: usize) -> Option<&Node> {
        match &self.content {
            Content::List(items) => items.get(index),
            _ if index == 0 => Some(self),
            _ => None,
        }
    }

    /// Whether nothing is written here.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Null)
    }
}

/// Deeper nesting is refused: no configuration needs it, and it could exhaust the stack.
const MAX_DEPTH: usize = 64;
/// More values than this, aliases expanded, are refused.
const MAX_NODES: usize = 100_000;

/// Reads one document. The tree holds what could be read, also where there are problems; `None` where
/// there is nothing to go on with.
pub(super) fn parse(text: &str, file: usize, problems: &mut Vec<Problem>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        Reader { file, problems, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::DocumentStart(_), span)) => {
                documents += 1;
                if documents > 1 {
                    let mark = reader.mark(span);
                    reader.problem(mark, "a second YAML document begins here", Some("one document a file"));
                    break;
                }
            }
            Ok((event, span)) => {
                if reader.take(event, span).is_err() {
                    return None;
                }
            }
            Err(error) => {
                let at = error.marker();
                let mark = Mark { file, line: at.line().max(1), column: at.col() + 1 };
                reader.problem(mark, &format!("this is not YAML: {}", error.info()), None);
                return None;
            }
        }
    }
    Some(reader.root.unwrap_or(Node::map_at(Mark { file, line: 1, column: 1 })))
}

/// A list or map whose end has not come yet.
struct Open {
    anchor: usize,
    node: Node,
    /// The key that waits for its value.
    key: Option<(String, Mark)>,
    /// The places of all keys so far.
    seen: HashMap<String, Mark>,
    /// What `<<` brings in; keys that are written here win.
    merged: Vec<(String, Node)>,
}

struct Reader<'a> {
    file: usize,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
}

/// Reading cannot go on; the problem is told already.
struct Hopeless;

impl Reader<'_> {
    fn mark(&self, span: Span) -> Mark {
        Mark { file: self.file, line: span.start.line().max(1), column: span.start.col() + 1 }
    }

    fn problem(&mut self, mark: Mark, message: &str, expected: Option<&str>) {
        self.problems.push(Problem::at(mark, "", message, expected));
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Hopeless> {
        let mark = self.mark(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let content = match tag.as_deref() {
                    Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
                        Content::Text(text.into())
                    }
                    other => {
                        self.refuse_tag(mark, other);
                        scalar(text.into_owned(), style)
                    }
                };
                self.complete(Node { mark, key: None, content }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(mark, tag.as_deref());
                self.begin(Node { mark, key: None, content: Content::List(Vec::new()) }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(mark, tag.as_deref());
                self.begin(Node::map_at(mark), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut done) = self.open.pop() else { return Ok(()) };
                if let Content::Map(entries) = &mut done.node.content {
                    for (key, node) in done.merged {
                        if !entries.iter().any(|(written, _)| *written == key) {
                            entries.push((key, node));
                        }
                    }
                }
                self.complete(done.node, done.anchor, 1)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                // The place stays that of the anchor: there the value can be mended.
                Some((node, size)) => self.complete(node, 0, size),
                None => {
                    self.problem(mark, "this alias stands inside its own anchor", None);
                    Err(Hopeless)
                }
            },
            _ => Ok(()),
        }
    }

    fn refuse_tag(&mut self, mark: Mark, tag: Option<&Tag>) {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            self.problem(
                mark,
                "a YAML tag means nothing here",
                Some("`{env: NAME}` or `{file: PATH}` for a reference"),
            );
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), Hopeless> {
        if self.open.len() >= MAX_DEPTH {
            self.problem(node.mark, &format!("nested deeper than {MAX_DEPTH} levels"), None);
            return Err(Hopeless);
        }
        self.open.push(Open { anchor, node, key: None, seen: HashMap::new(), merged: Vec::new() });
        Ok(())
    }

    /// Puts a finished node where it belongs. `size` is how many nodes it consists of.
    fn complete(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Hopeless> {
        self.nodes += size;
        if self.nodes > MAX_NODES {
            self.problem(node.mark, &format!("more than {MAX_NODES} values"), None);
            return Err(Hopeless);
        }
        if anchor > 0 {
            let size = count(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match parent.key.take() {
                None => match text_of(&node.content) {
                    Some(key) => parent.key = Some((key, node.mark)),
                    None => {
                        parent.key = Some((String::new(), node.mark));
                        self.problem(node.mark, "a key is a list or a map", Some("text"));
                    }
                },
                Some((key, at)) if key == "<<" => {
                    let sources = if let Content::List(items) = node.content { items } else { vec![node] };
                    let all_maps = sources.iter().all(|source| matches!(source.content, Content::Map(_)));
                    for source in sources {
                        let Content::Map(entries) = source.content else { continue };
                        for (key, node) in entries {
                            if !parent.merged.iter().any(|(earlier, _)| *earlier == key) {
                                parent.merged.push((key, node));
                            }
                        }
                    }
                    if !all_maps {
                        self.problem(
                            at,
                            "`<<` merges something that is not a map",
                            Some("an alias of a map"),
                        );
                    }
                }
                Some((key, at)) => {
                    if let Some(first) = parent.seen.get(&key) {
                        let message =
                            format!("`{}` is written twice, first in line {}", shown(&key), first.line);
                        self.problem(at, &message, Some("each key once"));
                    } else {
                        parent.seen.insert(key.clone(), at);
                        entries.push((key, Node { key: Some(at), ..node }));
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }
}

/// A key as messages show it: one line, not too long.
pub(super) fn shown(key: &str) -> String {
    let mut shown: String = key.chars().filter(|c| !c.is_control()).take(48).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    shown
}

fn count(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(count).sum(),
        Content::Map(entries) => entries.iter().map(|(_, node)| count(node)).sum(),
        _ => 0,
    }
}

fn text_of(content: &Content) -> Option<String> {
    match content {
        Content::Null => Some("null".into()),
        Content::Bool(value) => Some(value.to_string()),
        Content::Integer(value) => Some(value.to_string()),
        Content::Float(value) => Some(value.to_string()),
        Content::Text(text) => Some(text.clone()),
        Content::List(_) | Content::Map(_) => None,
    }
}

/// YAML 1.2's core schema: `on`, `yes` and `no` are text.
fn scalar(text: String, style: ScalarStyle) -> Content {
    if style != ScalarStyle::Plain {
        return Content::Text(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Bool(true),
        "false" | "False" | "FALSE" => return Content::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Content::Text(text);
    }
    let prefixed =
        |prefix, radix| text.strip_prefix(prefix).and_then(|rest| i64::from_str_radix(rest, radix).ok());
    if let Some(value) = prefixed("0x", 16).or_else(|| prefixed("0o", 8)).or_else(|| text.parse().ok()) {
        return Content::Integer(value);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Content::Float(value),
        _ => Content::Text(text),
    }
}
