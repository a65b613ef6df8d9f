//! One file of Rust as the names that it uses.

use std::collections::{BTreeMap, BTreeSet};

/// A path of names, from the root of the crate.
pub(crate) type Names = Vec<String>;

/// What a file says of others.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Where it is in the crate.
    pub(crate) module: Names,
    /// The modules that it declares.
    children: BTreeSet<String>,
    /// What it imports, by the names that it has here. Others may find it through this file.
    pub(crate) imports: BTreeMap<String, Names>,
    /// Modules of which it imports everything.
    pub(crate) everything: Vec<Names>,
    /// The items that it defines, nested ones and parameters of types among them.
    pub(crate) items: BTreeSet<String>,
    /// What its code names: imports that are not passed on, and paths.
    pub(crate) named: Vec<Names>,
}

/// A word, `::`, or anything else of one character.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Path,
    Other(char),
}

impl Token {
    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

impl Source {
    /// Reads the file of a module, without its tests.
    pub(crate) fn read(module: Names, text: &str) -> Self {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let tokens = tokens(code);
        let mut source = Self { module, ..Self::default() };
        source.declarations(&tokens);
        source.uses(&tokens);
        source
    }

    fn declarations(&mut self, tokens: &[Token]) {
        const KEYWORDS: [&str; 7] = ["fn", "struct", "enum", "trait", "type", "const", "static"];
        for window in tokens.windows(3) {
            let (first, Some(name)) = (&window[0], window[1].word()) else { continue };
            if first.is("mod") && window[2] == Token::Other(';') {
                self.children.insert(name.to_owned());
            } else if KEYWORDS.iter().any(|keyword| first.is(keyword)) {
                self.items.insert(name.to_owned());
            }
        }
    }

    fn uses(&mut self, tokens: &[Token]) {
        let mut at = 0;
        let mut is_passed_on = false;
        let mut paths = Vec::new();
        while at < tokens.len() {
            if tokens[at].is("use") {
                let end = tokens[at..].iter().position(|token| *token == Token::Other(';'));
                let end = at + end.unwrap_or(tokens.len() - at);
                self.tree(&[], &tokens[at + 1..end], is_passed_on);
                at = end;
            } else if let Some((path, next)) = path(tokens, at) {
                paths.push(path);
                at = next;
            }
            let last = tokens.get(at);
            // `pub` or `pub(crate)` before `use`.
            is_passed_on = match last {
                Some(token) if token.is("pub") => true,
                Some(Token::Other('(' | ')')) => is_passed_on,
                Some(token) if token.is("crate") || token.is("super") => is_passed_on,
                _ => false,
            };
            at += 1;
        }
        for path in paths {
            let known = self.imports.get(&path[0]).cloned();
            let whole = known.map(|start| start.into_iter().chain(path[1..].iter().cloned()).collect());
            self.named.extend(whole.or_else(|| self.absolute(&path)));
        }
    }

    /// One tree of a `use`, e.g. `super::{a, b::{self, C}}`.
    fn tree(&mut self, before: &[String], tokens: &[Token], is_passed_on: bool) {
        let mut path = before.to_vec();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                Token::Word(word) if word == "as" => break,
                Token::Word(word) if word == "self" && !path.is_empty() => {}
                Token::Word(word) => path.push(word.clone()),
                Token::Other('{') => {
                    for branch in branches(&tokens[at + 1..tokens.len() - 1]) {
                        self.tree(&path, branch, is_passed_on);
                    }
                    return;
                }
                Token::Other('*') => {
                    if let Some(module) = self.absolute(&path) {
                        self.named.extend((!is_passed_on).then(|| module.clone()));
                        self.everything.push(module);
                    }
                    return;
                }
                _ => {}
            }
            at += 1;
        }
        let renamed = tokens.get(at + 1).and_then(Token::word);
        let (Some(name), Some(whole)) = (renamed.or(path.last().map(String::as_str)), self.absolute(&path))
        else {
            return;
        };
        self.named.extend((!is_passed_on).then(|| whole.clone()));
        self.imports.insert(name.to_owned(), whole);
    }

    /// A path from the root of the crate; `None` for what is in others.
    fn absolute(&self, path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        let from = |module: &[String], rest: &[String]| Some([module, rest].concat());
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => from(&self.module, rest),
            "super" => {
                let more = rest.iter().take_while(|name| *name == "super").count();
                let depth = self.module.len().checked_sub(1 + more)?;
                from(&self.module[..depth], &rest[more..])
            }
            name if self.children.contains(name) => from(&self.module, path),
            _ => None,
        }
    }
}

/// The path of at least two names that begins at a place, and where it ends.
fn path(tokens: &[Token], at: usize) -> Option<(Names, usize)> {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    if matches!(before, Some(Token::Path | Token::Other('.'))) {
        return None;
    }
    let mut names = vec![tokens[at].word()?.to_owned()];
    let mut end = at;
    while let (Some(Token::Path), Some(Token::Word(name))) = (tokens.get(end + 1), tokens.get(end + 2)) {
        names.push(name.clone());
        end += 2;
    }
    (names.len() > 1).then_some((names, end))
}

/// What stands between the commas of a list, at its own level.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut out, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Other('{') => depth += 1,
            Token::Other('}') => depth -= 1,
            Token::Other(',') if depth == 0 => {
                out.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&tokens[start..]);
    out.into_iter().filter(|branch| !branch.is_empty()).collect()
}

/// The tokens of code, without comments and literals, and without who may see an item.
fn tokens(code: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = skipped(rest) {
            length
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            out.push(Token::Word(rest[..length].to_owned()));
            length
        } else if rest.starts_with("::") {
            out.push(Token::Path);
            2
        } else {
            out.extend((!first.is_whitespace()).then_some(Token::Other(first)));
            first.len_utf8()
        };
        rest = &rest[length..];
        if let Some((who, more)) = rest.strip_prefix("(in ").and_then(|rest| rest.split_once(')'))
            && out.last().is_some_and(|last| last.is("pub"))
            && !who.contains('(')
        {
            rest = more;
        }
    }
    out
}

/// How long the comment or literal is with which a text begins.
fn skipped(text: &str) -> Option<usize> {
    let until =
        |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    if text.starts_with("//") {
        return Some(until(2, "\n"));
    }
    let raw = text.strip_prefix('b').unwrap_or(text);
    if let Some(raw) = raw.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let start = text.len() - raw.len() + hashes + 1;
            return Some(until(start, &format!("\"{}", "#".repeat(hashes))));
        }
    }
    let quoted = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - quoted.len();
    match quoted.chars().next()? {
        '"' => Some(prefix + closing(quoted, '"')?),
        // A lifetime is none.
        '\'' if quoted[1..].starts_with('\\') || quoted.chars().nth(2) == Some('\'') => {
            Some(prefix + closing(quoted, '\'')?)
        }
        _ => None,
    }
}

/// Where a literal ends that begins with this quote.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[test]
fn names_are_read() {
    let text = r##"
        //! use crate::no;
        pub mod child;
        use std::fmt;
        use crate::a::{self, b::{C, D as E}, f};
        pub(crate) use super::g::H;
        use child::*;
        const TEXT: &str = r#"crate::not::this"#;
        fn x<'a>(c: char) { f::y('"', "crate::nor::this \" ", '\''); child::z(); E::new(); fmt::w() }
    "##;
    let module = vec!["m".to_owned(), "n".to_owned()];
    let source = Source::read(module, text);
    let joined = |names: &Names| names.join("::");
    let named: Vec<String> = source.named.iter().map(joined).collect();
    assert_eq!(
        named,
        ["a", "a::b::C", "a::b::D", "a::f", "m::n::child", "a::f::y", "m::n::child::z", "a::b::D::new"]
    );
    let imports: Vec<String> = source.imports.values().map(joined).collect();
    assert_eq!(imports, ["a::b::C", "a::b::D", "m::g::H", "a", "a::f"]);
    assert!(source.items.contains("TEXT") && source.items.contains("x"));
}
