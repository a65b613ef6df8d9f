//! Tokens to tree, by recursive descent. Each rule of the grammar is one function.

use crate::issue::{Issue, Source};
use crate::limits;
use crate::value::Constant;

use super::ast::{Call, Element, Entry, Expr, Field, Id, Kind, Select, Struct, operator};
use super::lexer::{Spanned, Token, tokens};
use super::{macros, unescape};

/// A tree, and where its nodes are written.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) expr: Expr,
    /// Code points from the start, by node.
    pub(crate) offsets: Vec<u32>,
}

/// Reads an expression and expands its macros.
pub(crate) fn parse(source: &Source) -> Result<Parsed, Vec<Issue>> {
    let size = source.text().len();
    if size > limits::EXPRESSION_SIZE {
        let message = format!(
            "expression code point size exceeds limit: size: {size}, limit {}",
            limits::EXPRESSION_SIZE
        );
        return Err(vec![Issue { offset: None, message }]);
    }
    let mut issues = Vec::new();
    let tokens = tokens(source.text(), &mut issues);
    let mut parser = Parser::new(source.text(), tokens);
    let parsed = parser.whole();
    issues.append(&mut parser.issues);
    match parsed {
        Ok(expr) if issues.is_empty() => Ok(Parsed { expr, offsets: parser.nodes.offsets }),
        Ok(_) => Err(issues),
        Err(Stop(issue)) => {
            issues.push(issue);
            Err(issues)
        }
    }
}

/// What ends the reading at once.
pub(super) struct Stop(pub(super) Issue);

type Step<T> = Result<T, Stop>;

/// Gives nodes their numbers.
#[derive(Default)]
pub(super) struct Nodes {
    offsets: Vec<u32>,
    /// How deeply operators, selections and calls are nested below each node.
    heights: Vec<u16>,
}

impl Nodes {
    pub(super) fn add(&mut self, offset: u32, height: u16) -> Step<Id> {
        let id = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
        if self.offsets.len() >= limits::NODES {
            let message = format!("expression size exceeds limit: more than {} nodes", limits::NODES);
            return Err(Stop(Issue { offset: None, message }));
        }
        self.offsets.push(offset);
        self.heights.push(height);
        Ok(id)
    }

    pub(super) fn offset(&self, id: Id) -> u32 {
        self.offsets.get(id as usize).copied().unwrap_or(0)
    }

    pub(super) fn height(&self, id: Id) -> u16 {
        self.heights.get(id as usize).copied().unwrap_or(0)
    }
}

/// The rules that can be nested, whose depth is bounded one by one.
#[derive(Clone, Copy)]
enum Rule {
    Expr,
    Relation,
    Calc,
    Member,
}

pub(super) struct Parser<'a> {
    text: &'a [char],
    tokens: Vec<Spanned>,
    at: usize,
    /// Brackets around.
    open: usize,
    depths: [usize; 4],
    pub(super) nodes: Nodes,
    issues: Vec<Issue>,
}

const EXPECTED: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                        BYTES, IDENTIFIER}";
const EXPECTED_ARGUMENT: &str = "{'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                                 NUM_UINT, STRING, BYTES, IDENTIFIER}";
const EXPECTED_INDEX: &str = "{'[', '{', '(', '.', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                              NUM_UINT, STRING, BYTES, IDENTIFIER}";
const EXPECTED_ELEMENT: &str = "{'[', ']', '{', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, \
                                NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const EXPECTED_ENTRY: &str = "{'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, \
                              NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
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

impl<'a> Parser<'a> {
    fn new(text: &'a [char], tokens: Vec<Spanned>) -> Self {
        Self { text, tokens, at: 0, open: 0, depths: [0; 4], nodes: Nodes::default(), issues: Vec::new() }
    }

    fn whole(&mut self) -> Step<Expr> {
        let expr = self.expr()?;
        let token = self.peek();
        if token.token != Token::End {
            let shown = self.shown(token);
            // One token too many is skipped when nothing follows it.
            let last = self.tokens.get(self.at + 1).is_some_and(|next| next.token == Token::End);
            let what = if last { "extraneous" } else { "mismatched" };
            return Err(stop(token.start, format!("Syntax error: {what} input '{shown}' expecting <EOF>")));
        }
        if self.nodes.height(expr.id) > limits::RECURSION {
            return Err(Stop(Issue { offset: None, message: "max recursion depth exceeded".to_owned() }));
        }
        Ok(expr)
    }

    fn peek(&self) -> Spanned {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Spanned {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// The next token, when it is this symbol.
    fn take(&mut self, symbol: &'static str) -> Option<Spanned> {
        (self.peek().token == Token::Symbol(symbol)).then(|| self.next())
    }

    fn is_symbol(&self, ahead: usize, symbol: &'static str) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|token| token.token == Token::Symbol(symbol))
    }

    fn shown(&self, token: Spanned) -> String {
        match token.token {
            Token::End => "<EOF>".to_owned(),
            _ => self.text_of(token),
        }
    }

    fn text_of(&self, token: Spanned) -> String {
        self.text[token.start as usize..token.end as usize].iter().collect()
    }

    /// The next token, which must be this symbol. When the token after it is what is expected, one is too many; when the
    /// next one could follow the symbol, that is missing.
    fn expect(&mut self, symbol: &'static str, expected: &str) -> Step<Spanned> {
        if let Some(token) = self.take(symbol) {
            return Ok(token);
        }
        let token = self.peek();
        let shown = self.shown(token);
        let single = expected.starts_with('\'');
        let follows = match symbol {
            ":" => starts_value(token.token),
            _ => continues(token.token, self.open > 1),
        };
        let message = if self.is_symbol(1, symbol) || (!single && self.is_symbol(1, ",")) {
            format!("Syntax error: extraneous input '{shown}' expecting {expected}")
        } else if single && follows {
            format!("Syntax error: missing {expected} at '{shown}'")
        } else {
            format!("Syntax error: mismatched input '{shown}' expecting {expected}")
        };
        Err(stop(token.start, message))
    }

    /// Nothing of the grammar goes on like this, from `first` on.
    fn no_alternative(&self, first: Spanned) -> Stop {
        let token = self.peek();
        let text: String = self.text[first.start as usize..token.end as usize].iter().collect();
        stop(token.start, format!("Syntax error: no viable alternative at input '{text}'"))
    }

    fn enter(&mut self, rule: Rule) -> Step<()> {
        let depth = &mut self.depths[rule as usize];
        *depth += 1;
        if *depth > usize::from(limits::RECURSION) {
            let message = format!("expression recursion limit exceeded: {}", limits::RECURSION);
            return Err(Stop(Issue { offset: None, message }));
        }
        Ok(())
    }

    fn leave(&mut self, rule: Rule, times: usize) {
        self.depths[rule as usize] -= times;
    }

    fn report(&mut self, offset: u32, message: String) {
        self.issues.push(Issue { offset: Some(offset), message });
    }

    fn node(&mut self, offset: u32, below: u16, kind: Kind) -> Step<Expr> {
        Ok(Expr { id: self.nodes.add(offset, below)?, kind })
    }

    fn tallest<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> u16 {
        exprs.into_iter().map(|expr| self.nodes.height(expr.id)).max().unwrap_or(0)
    }

    fn operation(&mut self, offset: u32, function: &str, args: Vec<Expr>) -> Step<Expr> {
        let height = self.tallest(&args) + 1;
        self.node(offset, height, Kind::Call(Call { target: None, function: function.to_owned(), args }))
    }

    fn expr(&mut self) -> Step<Expr> {
        self.enter(Rule::Expr)?;
        let condition = self.logic("||")?;
        let expr = match self.take("?") {
            None => condition,
            Some(mark) => {
                let yes = self.logic("||")?;
                self.expect(":", "':'")?;
                let no = self.expr()?;
                self.operation(mark.start, operator::CONDITIONAL, vec![condition, yes, no])?
            }
        };
        self.leave(Rule::Expr, 1);
        Ok(expr)
    }

    /// `a || b || c` or `a && b && c`, as a balanced tree.
    fn logic(&mut self, symbol: &'static str) -> Step<Expr> {
        let or = symbol == "||";
        let mut terms = vec![if or { self.logic("&&")? } else { self.relation()? }];
        let mut marks = Vec::new();
        while let Some(mark) = self.take(symbol) {
            marks.push(mark.start);
            terms.push(if or { self.logic("&&")? } else { self.relation()? });
        }
        let function = if or { operator::OR } else { operator::AND };
        let mut terms: Vec<Option<Expr>> = terms.into_iter().map(Some).collect();
        self.balanced(function, &mut terms, &marks)
    }

    fn balanced(&mut self, function: &str, terms: &mut [Option<Expr>], marks: &[u32]) -> Step<Expr> {
        if marks.is_empty() {
            return terms[0].take().ok_or_else(unreachable_term);
        }
        let middle = marks.len() / 2;
        let (left, right) = terms.split_at_mut(middle + 1);
        let left = self.balanced(function, left, &marks[..middle])?;
        let right = self.balanced(function, right, &marks[middle + 1..])?;
        let height = self.tallest([&left, &right]);
        let call = Call { target: None, function: function.to_owned(), args: vec![left, right] };
        self.node(marks[middle], height, Kind::Call(call))
    }

    fn relation(&mut self) -> Step<Expr> {
        self.enter(Rule::Relation)?;
        let mut entered = 1;
        let mut left = self.sum()?;
        loop {
            let token = self.peek();
            let function = match token.token {
                Token::Symbol(symbol @ ("<" | "<=" | ">=" | ">" | "==" | "!=")) => format!("_{symbol}_"),
                Token::Word("in") => operator::IN.to_owned(),
                _ => break,
            };
            self.next();
            self.enter(Rule::Relation)?;
            entered += 1;
            let right = self.sum()?;
            left = self.operation(token.start, &function, vec![left, right])?;
        }
        self.leave(Rule::Relation, entered);
        Ok(left)
    }

    fn sum(&mut self) -> Step<Expr> {
        self.calc(&["+", "-"])
    }

    /// A chain of sums or of products.
    fn calc(&mut self, symbols: &'static [&'static str]) -> Step<Expr> {
        const PRODUCT: &[&str] = &["*", "/", "%"];
        self.enter(Rule::Calc)?;
        let mut entered = 1;
        let is_sum = symbols.len() == 2;
        let mut left = if is_sum { self.calc(PRODUCT)? } else { self.unary()? };
        loop {
            let token = self.peek();
            let Token::Symbol(symbol) = token.token else { break };
            if !symbols.contains(&symbol) {
                break;
            }
            self.next();
            self.enter(Rule::Calc)?;
            entered += 1;
            let right = if is_sum { self.calc(PRODUCT)? } else { self.unary()? };
            left = self.operation(token.start, &format!("_{symbol}_"), vec![left, right])?;
        }
        self.leave(Rule::Calc, entered);
        Ok(left)
    }

    fn unary(&mut self) -> Step<Expr> {
        let first = self.peek();
        let (symbol, function) = match first.token {
            Token::Symbol("!") => ("!", operator::NOT),
            Token::Symbol("-") if !self.is_negative_literal() => ("-", operator::NEGATE),
            _ => return self.member(),
        };
        let mut count = 0;
        while self.take(symbol).is_some() {
            count += 1;
        }
        // After a minus, a number could have followed, too.
        if symbol == "-" && count == 1 && !starts_member(self.peek().token) {
            return Err(self.no_alternative(first));
        }
        let operand = self.member()?;
        if count % 2 == 0 {
            return Ok(operand);
        }
        let height = self.nodes.height(operand.id);
        let call = Call { target: None, function: function.to_owned(), args: vec![operand] };
        self.node(first.start, height, Kind::Call(call))
    }

    fn is_negative_literal(&self) -> bool {
        self.is_symbol(0, "-")
            && self
                .tokens
                .get(self.at + 1)
                .is_some_and(|next| matches!(next.token, Token::Int | Token::Float))
    }

    fn member(&mut self) -> Step<Expr> {
        self.enter(Rule::Member)?;
        let mut entered = 1;
        let mut expr = self.primary()?;
        loop {
            let mark = self.peek();
            match mark.token {
                Token::Symbol(".") => {
                    self.enter(Rule::Member)?;
                    expr = self.selection(expr)?;
                }
                Token::Symbol("[") => {
                    self.enter(Rule::Member)?;
                    self.next();
                    let optional = self.take("?").is_some();
                    if !optional {
                        self.begins_value(EXPECTED_INDEX)?;
                    }
                    self.open += 1;
                    let index = self.expr()?;
                    self.expect("]", "']'")?;
                    self.open -= 1;
                    let function = if optional { operator::OPTIONAL_INDEX } else { operator::INDEX };
                    expr = self.operation(mark.start, function, vec![expr, index])?;
                }
                _ => break,
            }
            entered += 1;
        }
        self.leave(Rule::Member, entered);
        Ok(expr)
    }

    /// `.field`, `.?field` or `.function(args)`
    fn selection(&mut self, operand: Expr) -> Step<Expr> {
        let dot = self.next();
        let optional = self.take("?").is_some();
        let (name, token) = self.field_name(dot, optional)?;
        if optional {
            let field = self.node(token.start, 0, Kind::Literal(Constant::String(name.into())))?;
            return self.operation(dot.start, operator::OPTIONAL_SELECT, vec![operand, field]);
        }
        let height = self.nodes.height(operand.id) + 1;
        let Some(open) = (token.token == Token::Ident).then(|| self.take("(")).flatten() else {
            let select = Select { operand: Box::new(operand), field: name, test: false };
            return self.node(dot.start, height, Kind::Select(select));
        };
        let args = self.arguments()?;
        let height = height.max(self.tallest(&args) + 1);
        self.call(open.start, height, Some(operand), name, args)
    }

    /// The name of a field after a dot, or after the `?` that follows it.
    fn field_name(&mut self, dot: Spanned, optional: bool) -> Step<(String, Spanned)> {
        let token = self.peek();
        match token.token {
            Token::Ident => {
                self.next();
                Ok((self.text_of(token), token))
            }
            Token::EscapedIdent => {
                self.next();
                self.report(token.start, "unsupported syntax: '`'".to_owned());
                Ok((String::new(), token))
            }
            _ if optional => {
                let shown = self.shown(token);
                let next = self.tokens.get(self.at + 1).map(|next| next.token);
                let name = matches!(next, Some(Token::Ident | Token::EscapedIdent));
                let what = if name { "extraneous" } else { "mismatched" };
                let message =
                    format!("Syntax error: {what} input '{shown}' expecting {{IDENTIFIER, ESC_IDENTIFIER}}");
                Err(stop(token.start, message))
            }
            Token::Word("true" | "false" | "null") if token.start == dot.end => {
                let shown = self.shown(token);
                Err(stop(
                    token.start,
                    format!("Syntax error: mismatched input '{shown}' expecting IDENTIFIER"),
                ))
            }
            _ => Err(self.no_alternative(dot)),
        }
    }

    fn call(
        &mut self,
        at: u32,
        height: u16,
        target: Option<Expr>,
        function: String,
        args: Vec<Expr>,
    ) -> Step<Expr> {
        let call = Call { target: target.map(Box::new), function, args };
        match macros::expand(&mut self.nodes, at, height, call)? {
            macros::Expansion::Call(call) => self.node(at, height, Kind::Call(call)),
            macros::Expansion::Expr(expr) => Ok(expr),
            macros::Expansion::Malformed { offset, message } => {
                self.report(offset, message.to_owned());
                self.node(offset, height, Kind::Literal(Constant::Null))
            }
        }
    }

    /// What follows an opening parenthesis, the closing one included.
    fn arguments(&mut self) -> Step<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        self.begins_value(EXPECTED_ARGUMENT)?;
        self.open += 1;
        loop {
            args.push(self.expr()?);
            if self.take(",").is_none() {
                self.expect(")", "')'")?;
                self.open -= 1;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Step<Expr> {
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

    /// Checks that a value begins here, where something else might be expected, too.
    fn begins_value(&self, expected: &str) -> Step<()> {
        let token = self.peek();
        if starts_value(token.token) { Ok(()) } else { Err(self.unexpected(token, expected)) }
    }

    /// Whether an element or entry begins here.
    fn begins_part(&self) -> bool {
        starts_value(self.peek().token) || self.is_symbol(0, "?")
    }

    /// Something else stands where a value should begin.
    fn unexpected(&self, token: Spanned, expected: &str) -> Stop {
        let shown = self.shown(token);
        // One token too many is skipped when what follows would do.
        let closer = match expected {
            EXPECTED_ARGUMENT => ")",
            EXPECTED_ELEMENT => "]",
            EXPECTED_ENTRY => "}",
            _ => "",
        };
        let more = matches!(expected, EXPECTED_ELEMENT | EXPECTED_ENTRY);
        let closes =
            self.is_symbol(1, closer) || (more && (self.is_symbol(1, ",") || self.is_symbol(1, "?")));
        let follows = closes || self.tokens.get(self.at + 1).is_some_and(|next| starts_value(next.token));
        let what = if follows { "extraneous" } else { "mismatched" };
        stop(token.start, format!("Syntax error: {what} input '{shown}' expecting {expected}"))
    }
}

fn starts_member(token: Token) -> bool {
    starts_value(token) && token != Token::Symbol("!")
}

fn starts_value(token: Token) -> bool {
    match token {
        Token::Symbol(symbol) => matches!(symbol, "[" | "{" | "(" | "." | "-" | "!"),
        Token::Word(word) => word != "in",
        Token::EscapedIdent | Token::End => false,
        _ => true,
    }
}

/// Whether an expression that is complete can be followed by this; within brackets it can by more.
fn continues(token: Token, inside: bool) -> bool {
    match token {
        Token::End => true,
        Token::Symbol("," | ":" | ")" | "]" | "}") => inside,
        Token::Symbol(symbol) => !matches!(symbol, "(" | "{" | "!"),
        Token::Word(word) => word == "in",
        _ => false,
    }
}

fn stop(offset: u32, message: String) -> Stop {
    Stop(Issue { offset: Some(offset), message })
}

/// Each term is taken once, by the split of the slice.
fn unreachable_term() -> Stop {
    Stop(Issue { offset: None, message: "unknown parse element encountered".to_owned() })
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
