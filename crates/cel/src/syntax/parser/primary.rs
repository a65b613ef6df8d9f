//! Values by themselves: names, literals, lists, maps and objects.

use super::super::ast::{Element, Entry, Expr, Field, Kind, Struct};
use super::super::lexer::Token;
use super::super::unescape;
use super::expected::{EXPECTED, EXPECTED_ELEMENT, EXPECTED_ENTRY};
use super::{Parser, Step, stop};
use crate::value::Constant;

const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Step<Expr> {
        let token = self.peek();
        match token.token {
            Token::Symbol("(") => {
                self.next();
                self.open += 1;
                let expr = self.expr()?;
                self.expect(")", "')'")?;
                self.open -= 1;
                Ok(expr)
            }
            Token::Symbol("[") => self.enclosed(Self::list),
            Token::Symbol("{") => self.enclosed(Self::map),
            Token::Symbol(".") | Token::Ident => self.named(),
            _ => self.literal(),
        }
    }

    /// What has brackets of its own.
    fn enclosed(&mut self, rule: fn(&mut Self) -> Step<Expr>) -> Step<Expr> {
        self.open += 1;
        let expr = rule(self)?;
        self.open -= 1;
        Ok(expr)
    }

    /// A name, a call, or an object.
    fn named(&mut self) -> Step<Expr> {
        let dot = self.take(".");
        let token = self.peek();
        if token.token != Token::Ident {
            return Err(self.no_alternative(dot.unwrap_or(token)));
        }
        let object = self.object_name_length();
        self.next();
        let lead = if dot.is_some() { "." } else { "" };
        let mut name = format!("{lead}{}", self.text_of(token));
        if let Some(parts) = object {
            for _ in 1..parts {
                self.next();
                let part = self.next();
                name = format!("{name}.{}", self.text_of(part));
            }
            return self.object(name);
        }
        let reserved = RESERVED.contains(&name.trim_start_matches('.'));
        if reserved {
            let start = dot.map_or(token.start, |dot| dot.start);
            self.report(start, format!("reserved identifier: {}", name.trim_start_matches('.')));
        }
        if let Some(open) = self.take("(") {
            let args = self.arguments()?;
            let height = self.tallest(&args);
            return self.call(open.start, height, None, name, args);
        }
        if reserved {
            return self.node(token.start, 0, Kind::Literal(Constant::Null));
        }
        self.node(token.start, 0, Kind::Ident(name))
    }

    /// How many names joined by dots stand here, when a `{` follows them.
    fn object_name_length(&self) -> Option<usize> {
        let is_name =
            |ahead: usize| self.tokens.get(self.at + ahead).is_some_and(|token| token.token == Token::Ident);
        let mut parts = 1;
        while self.is_symbol(2 * parts - 1, ".") && is_name(2 * parts) {
            parts += 1;
        }
        self.is_symbol(2 * parts - 1, "{").then_some(parts)
    }

    fn object(&mut self, name: String) -> Step<Expr> {
        let open = self.next();
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            if !matches!(self.peek().token, Token::Ident | Token::EscapedIdent) {
                let (token, shown) = (self.peek(), self.shown(self.peek()));
                let expected = "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}";
                let message = format!("Syntax error: mismatched input '{shown}' expecting {expected}");
                return Err(stop(token.start, message));
            }
            let name = self.peek();
            let (field, _) = self.field_name(name, false)?;
            let colon = self.expect(":", "':'")?;
            let id = self.nodes.add(colon.start, 0)?;
            let value = self.expr()?;
            fields.push(Field { id, name: field, value, optional });
            if self.take(",").is_none() {
                self.expect("}", "'}'")?;
                break;
            }
        }
        let height = self.tallest(fields.iter().map(|field| &field.value));
        self.node(open.start, height, Kind::Struct(Struct { name, fields }))
    }

    fn list(&mut self) -> Step<Expr> {
        let open = self.next();
        let mut elements = Vec::new();
        if !matches!(self.peek().token, Token::Symbol("]" | "," | "?")) {
            self.begins_value(EXPECTED_ELEMENT)?;
        }
        while self.take("]").is_none() {
            if elements.is_empty() && self.take(",").is_some() {
                self.expect("]", "']'")?;
                break;
            }
            if !elements.is_empty() && !self.begins_part() {
                self.expect("]", "']'")?;
            }
            let optional = self.take("?").is_some();
            elements.push(Element { value: self.expr()?, optional });
            if self.take(",").is_none() {
                self.expect("]", "{']', ','}")?;
                break;
            }
        }
        let height = self.tallest(elements.iter().map(|element| &element.value));
        self.node(open.start, height, Kind::List(elements))
    }

    fn map(&mut self) -> Step<Expr> {
        let open = self.next();
        let mut entries: Vec<Entry> = Vec::new();
        if !matches!(self.peek().token, Token::Symbol("}" | "," | "?")) {
            self.begins_value(EXPECTED_ENTRY)?;
        }
        while self.take("}").is_none() {
            if entries.is_empty() && self.take(",").is_some() {
                self.expect("}", "'}'")?;
                break;
            }
            if !entries.is_empty() && !self.begins_part() {
                self.expect("}", "'}'")?;
            }
            let optional = self.take("?").is_some();
            let key = self.expr()?;
            self.expect(":", "':'")?;
            entries.push(Entry { key, value: self.expr()?, optional });
            if self.take(",").is_none() {
                self.expect("}", "{'}', ','}")?;
                break;
            }
        }
        let height = self.tallest(entries.iter().flat_map(|entry| [&entry.key, &entry.value]));
        self.node(open.start, height, Kind::Map(entries))
    }

    fn literal(&mut self) -> Step<Expr> {
        let first = self.peek();
        let negative = self.is_negative_literal();
        if negative {
            self.next();
        }
        let token = self.peek();
        let text = self.text_of(token);
        let signed = if negative { format!("-{text}") } else { text.clone() };
        let literal = match token.token {
            Token::Int => int(&signed).map(Constant::Int).ok_or("invalid int literal"),
            Token::Uint => uint(&text).map(Constant::Uint).ok_or("invalid uint literal"),
            Token::Float => {
                let number = signed.parse().ok().filter(|number: &f64| number.is_finite());
                number.map(Constant::Double).ok_or("invalid double literal")
            }
            Token::String => unescape::string(&text).map(|text| Constant::String(text.into())),
            Token::Bytes => unescape::bytes(&text[1..]).map(|bytes| Constant::Bytes(bytes.into())),
            Token::Word("true") => Ok(Constant::Bool(true)),
            Token::Word("false") => Ok(Constant::Bool(false)),
            Token::Word("null") => Ok(Constant::Null),
            _ => return Err(self.unexpected(token, EXPECTED)),
        };
        self.next();
        let literal = literal.unwrap_or_else(|message| {
            self.report(first.start, message.to_owned());
            Constant::Null
        });
        self.node(first.start, 0, Kind::Literal(literal))
    }
}

fn int(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
        None => text.parse().ok(),
    }
}

fn uint(text: &str) -> Option<u64> {
    let digits = &text[..text.len() - 1];
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}
