//! From text to steps.

use super::{Node, Operator, PathError, Slice};

/// Paths within paths.
const DEPTH: usize = 32;

fn fail<T>(text: impl Into<String>) -> Result<T, PathError> {
    Err(PathError(text.into()))
}

/// Reads what stands within braces; a closing brace ends it.
pub(super) fn action(text: &str, depth: usize) -> Result<Vec<Node>, PathError> {
    if depth > DEPTH {
        return fail("too many paths within paths");
    }
    let mut parser = Parser { rest: text, nodes: Vec::new(), depth };
    while parser.step()? {}
    Ok(parser.nodes)
}

struct Parser<'t> {
    rest: &'t str,
    nodes: Vec<Node>,
    depth: usize,
}

fn is_terminator(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_word(letter: char) -> bool {
    letter == '_' || letter.is_alphabetic() || letter.is_numeric()
}

impl<'t> Parser<'t> {
    /// Reads one step; tells whether there is more.
    fn step(&mut self) -> Result<bool, PathError> {
        if let Some(rest) = self.rest.strip_prefix("[?(") {
            return self.filter(rest).map(|()| true);
        }
        if let Some(rest) = self.rest.strip_prefix("..") {
            return self.recursive(rest).map(|()| true);
        }
        let Some(letter) = self.rest.chars().next() else { return Ok(false) };
        let rest = &self.rest[letter.len_utf8()..];
        match letter {
            '}' => return Ok(false),
            '\r' | '\n' => return fail("unclosed action"),
            ' ' | '@' | '$' => self.rest = rest,
            '[' => self.array(rest)?,
            '"' | '\'' => self.quote(rest, letter)?,
            '.' => {
                self.rest = rest;
                self.field();
            }
            '+' | '-' => self.number()?,
            digit if digit.is_numeric() => self.number()?,
            word if is_word(word) => self.identifier(),
            other => {
                return fail(format!(
                    "unrecognized character in action: U+{:04X} '{other}'",
                    u32::from(other)
                ));
            }
        }
        Ok(true)
    }

    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn identifier(&mut self) {
        let word = self.take(self.rest.find(is_terminator).unwrap_or(self.rest.len()));
        self.nodes.push(match word {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            word => Node::Identifier(word.to_owned()),
        });
    }

    fn recursive(&mut self, rest: &'t str) -> Result<(), PathError> {
        if self.nodes.last() == Some(&Node::Recursive) {
            return fail("invalid multiple recursive descent");
        }
        self.rest = rest;
        self.nodes.push(Node::Recursive);
        if rest.starts_with(is_word) {
            self.field();
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), PathError> {
        let digits = self.rest.trim_start_matches(['+', '-']).len().max(self.rest.len().saturating_sub(1));
        let sign = self.rest.len() - digits;
        let more = self.rest[sign..].find(|c: char| c != '.' && !c.is_numeric());
        let text = self.take(more.map_or(self.rest.len(), |more| sign + more));
        self.nodes.push(match (text.parse(), text.parse()) {
            (Ok(number), _) => Node::Int(number),
            (_, Ok(number)) => Node::Float(number),
            _ => return fail(format!("cannot parse number {text}")),
        });
        Ok(())
    }

    /// A name up to the next terminator that no backslash stands before.
    fn field(&mut self) {
        let mut end = self.rest.len();
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            if letter == '\\' {
                letters.next();
            } else if is_terminator(letter) {
                end = at;
                break;
            }
        }
        let name = self.take(end);
        self.nodes.push(if name == "*" { Node::Wildcard } else { Node::Field(name.replace('\\', "")) });
    }

    fn array(&mut self, rest: &'t str) -> Result<(), PathError> {
        let Some(end) = rest.find([']', '\n']).filter(|end| rest[*end..].starts_with(']')) else {
            return fail("unterminated array");
        };
        let text = &rest[..end];
        self.rest = &rest[end + 1..];
        let text = if text == "*" { ":" } else { text };
        if text.contains(',') {
            let paths =
                text.split(',').map(|part| action(&format!("[{}]", part.trim_matches(' ')), self.depth + 1));
            self.nodes.push(Node::Union(paths.collect::<Result<_, _>>()?));
            return Ok(());
        }
        let quoted = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        if let Some(key) = quoted.filter(|key| !key.contains('\'')) {
            self.nodes.extend(action(&format!(".{key}"), self.depth + 1)?);
            return Ok(());
        }
        self.nodes.push(Node::Slice(slice(text)?));
        Ok(())
    }

    fn quote(&mut self, rest: &'t str, mark: char) -> Result<(), PathError> {
        let mut before = mark;
        for (at, letter) in rest.char_indices() {
            if letter == '\n' {
                break;
            }
            if letter == mark && before != '\\' {
                let Some(text) = unquote(&rest[..at], mark) else {
                    let whole = format!("{mark}{}{mark}", &rest[..at]);
                    return fail(format!("unquote string {whole} error invalid syntax"));
                };
                self.nodes.push(Node::Text(text));
                self.rest = &rest[at + 1..];
                return Ok(());
            }
            before = letter;
        }
        fail("unterminated quoted string")
    }

    fn filter(&mut self, rest: &'t str) -> Result<(), PathError> {
        let Some(end) = filter_end(rest) else { return fail("unterminated filter") };
        let text = &rest[..end];
        let Some(after) = rest[end + 1..].strip_prefix(']') else { return fail("unclosed array expect ]") };
        self.rest = after;
        let inner = |text: &str| action(text, self.depth + 1);
        let node = match split_comparison(text) {
            None => Node::Filter { left: inner(text)?, operator: Operator::Exists, right: Vec::new() },
            Some((left, operator, right)) => {
                let operator = match operator {
                    "<" => Operator::Less,
                    ">" => Operator::Greater,
                    "==" => Operator::Equal,
                    "!=" => Operator::NotEqual,
                    "<=" => Operator::LessEqual,
                    ">=" => Operator::GreaterEqual,
                    other => Operator::Unknown(other.to_owned()),
                };
                Node::Filter { left: inner(left)?, operator, right: inner(right)? }
            }
        };
        self.nodes.push(node);
        Ok(())
    }
}

/// Where the parenthesis of a filter closes: the first outside of the one quoted text.
fn filter_end(text: &str) -> Option<usize> {
    let (mut mark, mut closed, mut before) = (None, false, '(');
    for (at, letter) in text.char_indices() {
        match letter {
            '\n' => return None,
            '"' | '\'' => match mark {
                None => mark = Some(letter),
                Some(mark) => closed |= before != '\\' && letter == mark,
            },
            ')' if mark.is_some() == closed => return Some(at),
            _ => {}
        }
        before = letter;
    }
    None
}

/// A comparison's sides and the operator between them.
fn split_comparison(text: &str) -> Option<(&str, &str, &str)> {
    let is_operator = |c: char| "!<>=".contains(c);
    let start = text.find(is_operator).filter(|start| *start > 0)?;
    let length = text[start..].find(|c| !is_operator(c)).unwrap_or(text.len() - start);
    // Something must be left to compare with.
    let length = if start + length == text.len() { length - 1 } else { length };
    (length > 0).then(|| (&text[..start], &text[start..start + length], &text[start + length..]))
}

fn slice(text: &str) -> Result<Slice, PathError> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_number = |part: &&str| part.strip_prefix('-').unwrap_or(part).bytes().all(|b| b.is_ascii_digit());
    if parts.len() > 3 || !parts.iter().all(is_number) {
        return fail(format!("invalid array index {text}"));
    }
    let number = |part: &str| match part {
        "" => Ok(None),
        part => part.parse().map(Some).map_err(|_| PathError(format!("array index {part} is not a number"))),
    };
    let start = number(parts[0])?;
    Ok(match parts.get(1) {
        None => Slice { start, end: start.unwrap_or(0).checked_add(1), is_one: true, step: None },
        Some(end) => {
            let step = parts.get(2).map_or(Ok(None), |step| number(step))?;
            Slice { start, end: number(end)?, is_one: false, step }
        }
    })
}

/// Text without its quotes, escapes resolved as Go does.
fn unquote(text: &str, mark: char) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        let number = |digits: usize, radix: u32, letters: &mut std::str::Chars<'_>| {
            let text: String = letters.by_ref().take(digits).collect();
            let whole = text.len() == digits && text.chars().all(|c| c.is_digit(radix));
            u32::from_str_radix(&text, radix).ok().filter(|_| whole).and_then(char::from_u32)
        };
        out.push(match letters.next()? {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' => '\\',
            'x' => number(2, 16, &mut letters)?,
            'u' => number(4, 16, &mut letters)?,
            'U' => number(8, 16, &mut letters)?,
            same if same == mark => same,
            _ => return None,
        });
    }
    Some(out)
}
