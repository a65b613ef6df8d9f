//! Tokens to tree, by recursive descent. Each rule of the grammar is one function.

use crate::issue::{Issue, Source};
use crate::limits;

use super::ast::{Call, Expr, Id, Kind};
use super::lexer::{Spanned, Token, tokens};

mod expected;
mod members;
mod operators;
mod primary;

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
}

fn stop(offset: u32, message: String) -> Stop {
    Stop(Issue { offset: Some(offset), message })
}
