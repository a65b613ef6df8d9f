//! Conditions, comparisons and arithmetic, from the weakest operator to the strongest.

use super::super::ast::{Call, Expr, Kind, operator};
use super::super::lexer::Token;
use super::expected::starts_member;
use super::{Parser, Rule, Step, Stop};
use crate::issue::Issue;

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Step<Expr> {
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

    pub(super) fn is_negative_literal(&self) -> bool {
        self.is_symbol(0, "-")
            && self
                .tokens
                .get(self.at + 1)
                .is_some_and(|next| matches!(next.token, Token::Int | Token::Float))
    }
}

/// Each term is taken once, by the split of the slice.
fn unreachable_term() -> Stop {
    Stop(Issue { offset: None, message: "unknown parse element encountered".to_owned() })
}
