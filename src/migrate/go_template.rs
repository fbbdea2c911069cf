//! Templates of Go (<https://pkg.go.dev/text/template>) as Flipt's webhook sink uses them, put into ours.
//!
//! Translated is what people write into such bodies: fields, `toJson`, comparisons, `if`, `range` with variables.
//! What is not is named, never guessed.

use std::fmt::Write as _;

use crate::event::text::one_line;

/// The longest template that is looked at, and the longest expression that is made, in bytes: no template of ours
/// may be longer.
const MAX_BYTES: usize = 64 << 10;

/// So much of what cannot be translated is shown.
const SHOWN_CHARACTERS: usize = 200;

/// How deep parentheses may nest; each level takes some stack.
const MAX_DEPTH: usize = 64;

/// Puts a template into ours.
///
/// # Errors
/// Each construct that cannot be, as it is written.
pub(super) fn translated(go: &str) -> Result<String, Vec<String>> {
    if go.len() > MAX_BYTES {
        return Err(vec!["it has more than 64 KiB".to_owned()]);
    }
    let mut writer = Writer::default();
    let mut rest = go;
    while let Some(at) = rest.find("{{") {
        writer.text(&rest[..at]);
        let Some(end) = end_of_action(&rest[at + 2..]) else {
            writer.problems.push("an action without its end: {{".to_owned());
            rest = "";
            break;
        };
        writer.action(&rest[at + 2..at + 2 + end]);
        rest = &rest[at + 4 + end..];
    }
    writer.text(rest);
    if !writer.open.is_empty() {
        writer.problems.push("a block without its end".to_owned());
    }
    if writer.problems.is_empty() { Ok(writer.out) } else { Err(writer.problems) }
}

/// Where `}}` stands, outside of strings.
fn end_of_action(text: &str) -> Option<usize> {
    if let Some(comment) = text.trim_start_matches('-').trim_start().strip_prefix("/*") {
        let skipped = text.len() - comment.len();
        let close = skipped + comment.find("*/")?;
        return Some(close + text[close..].find("}}")?);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '`' | '\'') => quote = Some(character),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    If,
    For,
}

#[derive(Default)]
struct Writer {
    out: String,
    open: Vec<Block>,
    problems: Vec<String>,
}

impl Writer {
    fn text(&mut self, text: &str) {
        if let Some(mark) = ["{%", "{#"].into_iter().find(|mark| text.contains(mark)) {
            self.problems.push(format!("the text {mark}, which begins something in our templates"));
        }
        self.out.push_str(text);
    }

    fn action(&mut self, written: &str) {
        let (left, inner) = match written.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => ("-", inner),
            _ => ("", written),
        };
        let (right, inner) = match inner.strip_suffix('-') {
            Some(inner) if inner.ends_with(char::is_whitespace) => ("-", inner),
            _ => ("", inner),
        };
        let inner = inner.trim();
        match self.told(inner) {
            Ok(Told::Nothing) => {
                if !left.is_empty() || !right.is_empty() {
                    let _ = write!(self.out, "{{#{left} {right}#}}");
                }
            }
            Ok(Told::Value(value)) => {
                let _ = write!(self.out, "{{{{{left} {value} {right}}}}}");
            }
            Ok(Told::Statement(statement)) => {
                let _ = write!(self.out, "{{%{left} {statement} {right}%}}");
            }
            Err(()) => {
                let shown = one_line(inner, SHOWN_CHARACTERS);
                self.problems.push(format!("{{{{ {shown} }}}}"));
            }
        }
    }

    fn told(&mut self, inner: &str) -> Result<Told, ()> {
        if inner.starts_with("/*") {
            return Ok(Told::Nothing);
        }
        let tokens = tokens(inner).ok_or(())?;
        let statement = |text: String| Ok(Told::Statement(text));
        match tokens.as_slice() {
            [Token::Word(word), rest @ ..] if word == "if" => {
                let condition = whole(rest)?;
                self.open.push(Block::If);
                statement(format!("if {condition}"))
            }
            [Token::Word(word)] if word == "else" && self.open.last() == Some(&Block::If) => {
                statement("else".to_owned())
            }
            [Token::Word(word)] if word == "else" && self.open.last() == Some(&Block::For) => {
                statement("else".to_owned())
            }
            [Token::Word(word), Token::Word(then), rest @ ..]
                if word == "else" && then == "if" && self.open.last() == Some(&Block::If) =>
            {
                statement(format!("elif {}", whole(rest)?))
            }
            [Token::Word(word)] if word == "end" => match self.open.pop().ok_or(())? {
                Block::If => statement("endif".to_owned()),
                Block::For => statement("endfor".to_owned()),
            },
            [Token::Word(word), Token::Variable(value), Token::Sign(assign), rest @ ..]
                if word == "range" && assign == ":=" =>
            {
                let list = whole(rest)?;
                self.open.push(Block::For);
                statement(format!("for {value} in (({list}) or [])"))
            }
            [
                Token::Word(word),
                Token::Variable(key),
                Token::Sign(comma),
                Token::Variable(value),
                Token::Sign(assign),
                rest @ ..,
            ] if word == "range" && comma == "," && assign == ":=" => {
                let map = whole(rest)?;
                self.open.push(Block::For);
                statement(format!("for {key}, {value} in (({map}) or {{}}) | items"))
            }
            [Token::Variable(name), Token::Sign(assign), rest @ ..] if assign == ":=" => {
                statement(format!("set {name} = {}", whole(rest)?))
            }
            [Token::Word(word), ..] if is_keyword(word) => Err(()),
            all => whole(all).map(Told::Value),
        }
    }
}

enum Told {
    Nothing,
    Value(String),
    Statement(String),
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "range" | "with" | "define" | "template" | "block" | "break" | "continue" | "else" | "end" | "if"
    )
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `if`, `eq`, `toJson`, `true`.
    Word(String),
    /// `.Payload.key`, split; of `.` nothing.
    Field(Vec<String>),
    /// `$name`, and the fields behind it.
    Variable(String),
    /// A text, as JSON.
    Text(String),
    Number(String),
    /// `|`, `(`, `)`, `:=`, `,`.
    Sign(String),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name_end = |text: &str| text.find(|c| !is_name(c)).unwrap_or(text.len());
        let length = match first {
            '"' => {
                let value: String = {
                    let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                    let value = stream.next()?.ok()?;
                    let used = stream.byte_offset();
                    tokens.push(Token::Text(serde_json::to_string(&value).ok()?));
                    rest = rest[used..].trim_start();
                    value
                };
                let _ = value;
                continue;
            }
            '`' => {
                let end = rest[1..].find('`')?;
                tokens.push(Token::Text(serde_json::to_string(&rest[1..=end]).ok()?));
                end + 2
            }
            '|' | '(' | ')' | ',' => {
                tokens.push(Token::Sign(first.to_string()));
                1
            }
            ':' if rest.starts_with(":=") => {
                tokens.push(Token::Sign(":=".to_owned()));
                2
            }
            '.' => {
                let end = rest.find(|c| c != '.' && !is_name(c)).unwrap_or(rest.len());
                let parts = rest[1..end].split('.').map(str::to_owned).collect::<Vec<_>>();
                let parts = if end == 1 { Vec::new() } else { parts };
                if parts.iter().any(String::is_empty) {
                    return None;
                }
                tokens.push(Token::Field(parts));
                end
            }
            '$' => {
                let end = 1 + name_end(&rest[1..]);
                match (&rest[1..end], rest[end..].starts_with('.')) {
                    // The event itself, wherever one stands.
                    ("", true) => {}
                    ("", false) => return None,
                    (name, false) => tokens.push(Token::Variable(format!("go_{name}"))),
                    // Fields of variables are rare enough.
                    (_, true) => return None,
                }
                end
            }
            '0'..='9' | '-' | '+' => {
                let end = rest[1..]
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .map_or(rest.len(), |end| end + 1);
                rest[..end].parse::<f64>().ok()?;
                tokens.push(Token::Number(rest[..end].to_owned()));
                end
            }
            first if is_name(first) => {
                let end = name_end(rest);
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            _ => return None,
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// A whole pipeline.
fn whole(tokens: &[Token]) -> Result<String, ()> {
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let value = parser.pipeline()?;
    if parser.at == tokens.len() { Ok(value) } else { Err(()) }
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        self.at += 1;
        self.tokens.get(self.at - 1)
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Sign(found)) if found == sign)
    }

    fn pipeline(&mut self) -> Result<String, ()> {
        let mut value = self.command(None)?;
        while self.is_sign("|") {
            self.at += 1;
            value = self.command(Some(value))?;
        }
        Ok(value)
    }

    fn command(&mut self, piped: Option<String>) -> Result<String, ()> {
        if let Some(Token::Word(word)) = self.tokens.get(self.at)
            && !matches!(word.as_str(), "true" | "false" | "nil")
        {
            let word = word.clone();
            self.at += 1;
            let mut arguments = Vec::new();
            while self.at < self.tokens.len() && !self.is_sign("|") && !self.is_sign(")") {
                arguments.push(self.operand()?);
            }
            arguments.extend(piped);
            return call(&word, &arguments);
        }
        // A value takes nothing from a pipe.
        let value = self.operand()?;
        let ends = self.at == self.tokens.len() || self.is_sign("|") || self.is_sign(")");
        if piped.is_none() && ends { Ok(value) } else { Err(()) }
    }

    fn operand(&mut self) -> Result<String, ()> {
        let token = self.next().cloned().ok_or(())?;
        match token {
            Token::Field(parts) => field(&parts),
            Token::Variable(name) => Ok(name),
            Token::Text(json) => Ok(json),
            Token::Number(number) => Ok(number),
            Token::Word(word) => match word.as_str() {
                "true" | "false" => Ok(word),
                "nil" => Ok("none".to_owned()),
                // Functions without arguments are none of Go's.
                _ => Err(()),
            },
            Token::Sign(sign) if sign == "(" => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(());
                }
                let value = self.pipeline()?;
                self.depth -= 1;
                if !self.is_sign(")") {
                    return Err(());
                }
                self.at += 1;
                Ok(format!("({value})"))
            }
            Token::Sign(_) => Err(()),
        }
    }
}

fn call(function: &str, arguments: &[String]) -> Result<String, ()> {
    // `eq` repeats its first argument, and what nests repeats what repeats.
    let length: usize = arguments.iter().map(String::len).sum();
    let longest = length + arguments.first().map_or(0, String::len) * arguments.len();
    if longest > MAX_BYTES {
        return Err(());
    }
    let compared = |sign: &str| match arguments {
        [a, b] => Ok(format!("({a}) {sign} ({b})")),
        _ => Err(()),
    };
    let joined = |word: &str| match arguments {
        [] | [_] => Err(()),
        all => Ok(all.iter().map(|argument| format!("({argument})")).collect::<Vec<_>>().join(word)),
    };
    match (function, arguments) {
        // Values are written as JSON in any case.
        ("toJson", [value]) => Ok(value.clone()),
        ("eq", [a, several @ ..]) if several.len() > 1 => {
            Ok(several.iter().map(|b| format!("({a}) == ({b})")).collect::<Vec<_>>().join(" or "))
        }
        ("eq", _) => compared("=="),
        ("ne", _) => compared("!="),
        ("lt", _) => compared("<"),
        ("le", _) => compared("<="),
        ("gt", _) => compared(">"),
        ("ge", _) => compared(">="),
        ("and", _) => joined(" and "),
        ("or", _) => joined(" or "),
        ("not", [value]) => Ok(format!("not ({value})")),
        ("len", [value]) => Ok(format!("({value}) | length")),
        ("urlquery", [value]) => Ok(format!("({value}) | urlencode")),
        ("print", [value]) => Ok(value.clone()),
        ("printf", [format, value]) if matches!(format.as_str(), "\"%s\"" | "\"%v\"") => Ok(value.clone()),
        ("index", [map, keys @ ..]) if !keys.is_empty() => {
            let mut value = map.clone();
            for key in keys {
                value = format!("(({value}) or {{}})[{key}] | default(\"\")");
            }
            Ok(value)
        }
        _ => Err(()),
    }
}

/// A field of Flipt's event (`audit.Event`) among our variables.
fn field(parts: &[String]) -> Result<String, ()> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let inside = |root: &str, rest: &[&str]| {
        let mut value = root.to_owned();
        for (index, part) in rest.iter().enumerate() {
            value = if index == 0 { format!("{value}.{part}") } else { format!("({value} or {{}}).{part}") };
        }
        format!("{value} | default(\"\")")
    };
    Ok(match parts.as_slice() {
        ["Version"] => "data.version | default(\"\")".to_owned(),
        ["Type"] => "data.type | default(\"\")".to_owned(),
        ["Action"] => "data.action | default(\"\")".to_owned(),
        ["Status"] => "data.status | default(\"success\")".to_owned(),
        ["Timestamp"] => "data.timestamp | default(\"\")".to_owned(),
        ["Metadata"] => "data.metadata | default({})".to_owned(),
        ["Metadata", "Actor"] => "actor".to_owned(),
        ["Metadata", "Actor", name] => {
            let name = match *name {
                "Authentication" | "IP" | "Email" | "Name" | "Picture" => name.to_ascii_lowercase(),
                // Up to Flipt 1.38 it was a map.
                name => name.to_owned(),
            };
            format!("actor.{name} | default(\"\")")
        }
        ["Payload"] => "payload".to_owned(),
        ["Payload", rest @ ..] => inside("payload", rest),
        _ => return Err(()),
    })
}
