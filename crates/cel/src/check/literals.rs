//! What is wrong with literals, beyond their types: arguments that can never be converted, patterns that are none,
//! lists of elements that do not go together.

use crate::issue::Issue;
use crate::library::formatting::{Clause, Piece, piece};
use crate::library::regex;
use crate::syntax::ast::{Call, Expr, Id, Kind};
use crate::types::Type;
use crate::value::{Constant, Duration, Timestamp};

use super::Checked;

/// Reports what is wrong with the literals of an expression.
pub(super) fn validate(checked: &Checked, offsets: &[u32], issues: &mut Vec<Issue>) {
    let mut validator = Validator { checked, offsets, issues };
    validator.walk(&checked.expr);
    validator.homogeneous(&checked.expr, false);
}

struct Validator<'a> {
    checked: &'a Checked,
    offsets: &'a [u32],
    issues: &'a mut Vec<Issue>,
}

impl Validator<'_> {
    fn report(&mut self, id: Id, message: String) {
        self.issues.push(Issue { offset: self.offsets.get(id as usize).copied(), message });
    }

    fn walk(&mut self, expr: &Expr) {
        if let Kind::Call(call) = &expr.kind {
            self.conversions(call);
            self.format(expr.id, call);
        }
        expr.children(&mut |child| self.walk(child));
    }

    fn conversions(&mut self, call: &Call) {
        let Some(Expr { id, kind: Kind::Literal(literal) }) = call.args.first() else { return };
        let good = match (call.function.as_str(), literal) {
            ("duration", Constant::String(text)) => Duration::parse(text).is_some(),
            ("duration", _) => false,
            ("timestamp", Constant::String(text)) => Timestamp::parse(text).is_some(),
            ("timestamp", Constant::Int(seconds)) => Timestamp::from_seconds(*seconds).is_ok(),
            ("matches", Constant::String(text)) => regex::compile(text).is_ok(),
            _ => true,
        };
        if !good {
            self.report(*id, format!("invalid {} argument", call.function));
        }
    }

    /// A format and its arguments, when both are literals.
    fn format(&mut self, id: Id, call: &Call) {
        let Some(target) = &call.target else { return };
        let (Kind::Literal(Constant::String(format)), [Expr { kind: Kind::List(arguments), .. }]) =
            (&target.kind, call.args.as_slice())
        else {
            return;
        };
        if call.function != "format" {
            return;
        }
        let mut rest: &str = format;
        let mut next = 0;
        while !rest.is_empty() {
            match piece(rest, next, arguments.len()) {
                Err(message) => return self.report(id, message),
                Ok((Piece::Text(_), after)) => rest = after,
                Ok((Piece::Argument(clause), after)) => {
                    rest = after;
                    let argument = arguments.get(next).map(|argument| &argument.value);
                    if let Some(wrong) = argument.and_then(|argument| self.refused(clause, argument)) {
                        let message = clause.refusal(self.checked.type_of(wrong));
                        return self.report(wrong, message);
                    }
                    next += 1;
                }
            }
        }
        if arguments.len() > next {
            let message = format!(
                "too many arguments supplied to string.format (expected {next}, got {})",
                arguments.len()
            );
            self.report(id, message);
        }
    }

    /// The part of an argument that cannot be written as a clause says.
    fn refused(&self, clause: Clause, argument: &Expr) -> Option<Id> {
        if !clause.accepts(self.checked.type_of(argument.id)) {
            return Some(argument.id);
        }
        match &argument.kind {
            Kind::List(elements) if clause == Clause::String => {
                elements.iter().find_map(|element| self.refused(clause, &element.value))
            }
            Kind::Map(entries) if clause == Clause::String => {
                let parts = entries.iter().flat_map(|entry| [&entry.key, &entry.value]);
                parts.into_iter().find_map(|part| self.refused(clause, part))
            }
            _ => None,
        }
    }

    /// Lists and maps whose elements have different types, except among the arguments of `format`.
    fn homogeneous(&mut self, expr: &Expr, exempt: bool) {
        match &expr.kind {
            Kind::List(elements) if !exempt => {
                let mut first = None;
                for element in elements {
                    let of = self.element_type(&element.value, element.optional);
                    let first = first.get_or_insert_with(|| of.clone());
                    if !equivalent(first, &of) {
                        let message = format!("expected type '{first}' but found '{of}'");
                        self.report(element.value.id, message);
                        break;
                    }
                }
            }
            Kind::Map(entries) if !exempt => {
                let mut first = None;
                for entry in entries {
                    let types = (
                        self.element_type(&entry.key, false),
                        self.element_type(&entry.value, entry.optional),
                    );
                    let (key, value) = first.get_or_insert_with(|| types.clone());
                    for (id, first, of) in
                        [(entry.key.id, &*key, &types.0), (entry.value.id, &*value, &types.1)]
                    {
                        if !equivalent(first, of) {
                            self.issues.push(Issue {
                                offset: self.offsets.get(id as usize).copied(),
                                message: format!("expected type '{first}' but found '{of}'"),
                            });
                        }
                    }
                }
            }
            _ => {}
        }
        let exempt = exempt || matches!(&expr.kind, Kind::Call(call) if call.function == "format");
        expr.children(&mut |child| self.homogeneous(child, exempt));
    }

    fn element_type(&self, value: &Expr, optional: bool) -> Type {
        let of = self.checked.type_of(value.id);
        if optional { of.unwrap_optional().0.clone() } else { of.clone() }
    }
}

/// The same type, whatever the parameters of types' types are.
fn equivalent(one: &Type, another: &Type) -> bool {
    match (one, another) {
        (Type::List(one), Type::List(another)) | (Type::Optional(one), Type::Optional(another)) => {
            equivalent(one, another)
        }
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            equivalent(key, other_key) && equivalent(value, other_value)
        }
        (Type::Type(_), Type::Type(_)) => true,
        (one, another) => one == another,
    }
}
