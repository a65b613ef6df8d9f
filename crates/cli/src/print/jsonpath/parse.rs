//! From text to the steps of a template.

use serde_json::Value;

use super::{Node, Operand, Operator, Step};

/// Reads a template to its end.
pub(super) fn template(text: &str) -> Result<Vec<Node>, String> {
    let mut reader = Reader { rest: text };
    let nodes = reader.nodes(false)?;
    Ok(nodes)
}

/// The text that is still to be read.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Nodes to the end of the text, or to `{end}` of a range.
    fn nodes(&mut self, in_range: bool) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        while !self.rest.is_empty() {
            let Some(open) = self.rest.find('{') else {
                nodes.push(Node::Text(std::mem::take(&mut self.rest).to_owned()));
                break;
            };
            if open > 0 {
                nodes.push(Node::Text(self.rest[..open].to_owned()));
            }
            self.rest = &self.rest[open + 1..];
            if self.action(&mut nodes)? {
                return if in_range { Ok(nodes) } else { Err("not in range, nothing to end".to_owned()) };
            }
        }
        Ok(nodes)
    }

    /// What stands in braces; true for the `end` of a range.
    fn action(&mut self, nodes: &mut Vec<Node>) -> Result<bool, String> {
        loop {
            self.blanks();
            if self.eat("}") {
                return Ok(false);
            }
            if self.rest.is_empty() {
                return Err("unclosed action".to_owned());
            }
            if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
                nodes.push(Node::Text(self.quoted(quote)?));
            } else if self.eat("range") {
                let steps = self.path()?;
                self.blanks();
                if !self.eat("}") {
                    return Err("unclosed action".to_owned());
                }
                let inner = self.nodes(true)?;
                nodes.push(Node::Range(steps, inner));
                return Ok(false);
            } else if self.eat("end") {
                self.blanks();
                return if self.eat("}") { Ok(true) } else { Err("unclosed action".to_owned()) };
            } else if self.rest.starts_with(['.', '[', '@', '$']) {
                nodes.push(Node::Path(self.path()?));
            } else {
                return Err(format!("unrecognized identifier {}", self.word()));
            }
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A name, in which a backslash takes the meaning from a dot.
    fn word(&mut self) -> String {
        let (mut word, mut escaped) = (String::new(), false);
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\\' if !escaped => escaped = true,
                '.' | '[' | ']' | '{' | '}' | ' ' | '\t' | '\n' | '=' | '!' | '<' | '>' | ')' | '(' | ','
                    if !escaped =>
                {
                    break;
                }
                c => {
                    word.push(c);
                    escaped = false;
                }
            }
            self.rest = &self.rest[c.len_utf8()..];
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let (mut text, mut escaped) = (String::new(), false);
        self.rest = &self.rest[1..];
        while let Some(c) = self.rest.chars().next() {
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '\\' if !escaped => escaped = true,
                c if c == quote && !escaped => return Ok(text),
                c => {
                    text.push(if escaped { unescaped(c) } else { c });
                    escaped = false;
                }
            }
        }
        Err("unterminated quoted string".to_owned())
    }

    fn path(&mut self) -> Result<Vec<Step>, String> {
        self.blanks();
        let mut steps = Vec::new();
        if !self.eat("@") {
            self.eat("$");
        }
        loop {
            if self.eat("..") {
                steps.push(Step::Recursive);
                if !self.rest.starts_with('[') {
                    steps.push(self.named());
                }
            } else if self.eat(".") {
                if !self.rest.starts_with('[') {
                    let step = self.named();
                    if step != Step::Field(String::new()) {
                        steps.push(step);
                    }
                }
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else {
                return Ok(steps);
            }
        }
    }

    fn named(&mut self) -> Step {
        if self.eat("*") { Step::Wildcard } else { Step::Field(self.word()) }
    }

    fn bracket(&mut self) -> Result<Step, String> {
        self.blanks();
        if self.eat("?(") {
            return self.filter();
        }
        if self.rest.starts_with(['"', '\'']) {
            return self.names();
        }
        let (inside, rest) = self.rest.split_once(']').ok_or("unterminated array")?;
        self.rest = rest;
        let inside = inside.trim();
        if inside == "*" {
            return Ok(Step::Wildcard);
        }
        let invalid = || format!("invalid array index {inside}");
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| invalid());
        let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
        match inside.split(':').collect::<Vec<_>>().as_slice() {
            [index] => Ok(Step::Index(number(index)?)),
            [start, end] => Ok(Step::Slice(bound(start)?, bound(end)?, 1)),
            [start, end, step] => Ok(Step::Slice(bound(start)?, bound(end)?, bound(step)?.unwrap_or(1))),
            _ => Err(invalid()),
        }
    }

    fn names(&mut self) -> Result<Step, String> {
        let mut names = Vec::new();
        loop {
            self.blanks();
            let quote =
                self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("unterminated array")?;
            names.push(self.quoted(quote)?);
            self.blanks();
            if self.eat("]") {
                return Ok(if names.len() == 1 { Step::Field(names.remove(0)) } else { Step::Fields(names) });
            }
            if !self.eat(",") {
                return Err("unterminated array".to_owned());
            }
        }
    }

    fn filter(&mut self) -> Result<Step, String> {
        const OPERATORS: [(&str, Operator); 6] = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let left = self.operand()?;
        self.blanks();
        let operator = OPERATORS.iter().find(|(sign, _)| self.rest.starts_with(sign));
        let rest = match operator {
            Some((sign, operator)) => {
                self.eat(sign);
                Some((*operator, self.operand()?))
            }
            None => None,
        };
        self.blanks();
        if self.eat(")]") { Ok(Step::Filter(left, rest)) } else { Err("unterminated filter".to_owned()) }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.blanks();
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            return Ok(Operand::Value(Value::from(self.quoted(quote)?)));
        }
        if self.rest.starts_with(['@', '$']) {
            return Ok(Operand::Path(self.path()?));
        }
        // A number may have a dot.
        let end = self.rest.find([')', ' ', '=', '!', '<', '>']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value = serde_json::from_str(word).map_err(|_| format!("unrecognized identifier {word}"))?;
        Ok(Operand::Value(value))
    }
}

fn unescaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        c => c,
    }
}
