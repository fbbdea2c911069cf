//! Configurations of others, read by the same parser.

use super::yaml::{self, Content, Node};

/// A tree of somebody else's YAML. It may hold secrets, and is not shown.
pub(crate) struct Tree(Node);

/// Reads one document.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub(crate) fn read_tree(text: &str) -> Result<Tree, String> {
    let mut problems = Vec::new();
    let root = yaml::parse(text, 0, &mut problems);
    match (root, problems.first()) {
        (Some(root), None) if matches!(root.content, Content::Map(_)) => Ok(Tree(root)),
        (Some(_), None) => Err("this is no map of keys".to_owned()),
        (_, Some(problem)) => {
            let line = problem.mark.map_or_else(String::new, |mark| format!("line {}: ", mark.line));
            Err(format!("{line}{}", problem.message))
        }
        (None, None) => Err("this is not YAML".to_owned()),
    }
}

impl Tree {
    /// A scalar at a path of keys (`""`: this one), as text; keys in any case of letters, as viper reads them.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        scalar(find(&self.0, path)?)
    }

    /// The items of a list.
    pub(crate) fn items(&self, path: &str) -> Vec<Self> {
        match find(&self.0, path).map(|node| &node.content) {
            Some(Content::List(items)) => items.iter().cloned().map(Self).collect(),
            _ => Vec::new(),
        }
    }

    /// The scalars of a map.
    pub(crate) fn entries(&self, path: &str) -> Vec<(String, String)> {
        let node = find(&self.0, path);
        let entries = node.map(Node::entries).unwrap_or_default().iter();
        entries.filter_map(|(key, value)| Some((key.clone(), scalar(value)?))).collect()
    }
}

fn find<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let mut parts = path.split('.').filter(|part| !part.is_empty());
    parts.try_fold(node, |node, wanted| {
        node.entries().iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, node)| node)
    })
}

fn scalar(node: &Node) -> Option<String> {
    match &node.content {
        Content::Text(text) => Some(text.clone()),
        Content::Bool(value) => Some(value.to_string()),
        Content::Integer(value) => Some(value.to_string()),
        Content::Float(value) => Some(value.to_string()),
        Content::Null | Content::List(_) | Content::Map(_) => None,
    }
}
