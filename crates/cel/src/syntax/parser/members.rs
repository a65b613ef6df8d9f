//! What follows a value: fields, indexes, calls.

use super::super::ast::{Call, Expr, Kind, Select, operator};
use super::super::lexer::{Spanned, Token};
use super::super::macros;
use super::expected::{EXPECTED_ARGUMENT, EXPECTED_INDEX};
use super::{Parser, Rule, Step, stop};
use crate::value::Constant;

impl Parser<'_> {
    pub(super) fn member(&mut self) -> Step<Expr> {
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
    pub(super) fn field_name(&mut self, dot: Spanned, optional: bool) -> Step<(String, Spanned)> {
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

    pub(super) fn call(
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
    pub(super) fn arguments(&mut self) -> Step<Vec<Expr>> {
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
}
