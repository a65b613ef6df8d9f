//! Which variables and fields an expression uses.

use std::collections::BTreeSet;

use crate::check::{Checked, Reference};
use crate::syntax::ast::{Expr, Kind, operator};

/// Names of the environment's variables that an expression uses.
pub(crate) fn variables(checked: &Checked) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(checked, &checked.expr, &mut Vec::new(), &mut names);
    names
}

/// The fields that an expression selects of names, `a.b` as `("a", "b")`.
pub(crate) fn selections(expr: &Expr) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    select(expr, &mut found);
    found
}

fn select(expr: &Expr, found: &mut BTreeSet<(String, String)>) {
    match &expr.kind {
        Kind::Select(selected) => {
            if let Kind::Ident(name) = &selected.operand.kind {
                found.insert((name.clone(), selected.field.clone()));
            }
        }
        Kind::Call(call) if call.function == operator::OPTIONAL_SELECT => {
            if let [
                Expr { kind: Kind::Ident(name), .. },
                Expr { kind: Kind::Literal(crate::value::Constant::String(field)), .. },
            ] = call.args.as_slice()
            {
                found.insert((name.clone(), field.to_string()));
            }
        }
        _ => {}
    }
    expr.children(&mut |child| select(child, found));
}

fn collect(checked: &Checked, expr: &Expr, locals: &mut Vec<String>, names: &mut BTreeSet<String>) {
    match &expr.kind {
        Kind::Ident(name) => {
            let variable = matches!(checked.reference(expr.id), Some(Reference::Variable));
            if variable && !locals.contains(name) {
                names.insert(name.clone());
            }
        }
        Kind::Comprehension(fold) => {
            collect(checked, &fold.range, locals, names);
            collect(checked, &fold.init, locals, names);
            let outer = locals.len();
            locals.push(fold.accumulator.clone());
            collect(checked, &fold.result, locals, names);
            locals.push(fold.variable.clone());
            locals.extend(fold.second.clone());
            collect(checked, &fold.condition, locals, names);
            collect(checked, &fold.step, locals, names);
            locals.truncate(outer);
        }
        _ => expr.children(&mut |child| collect(checked, child, locals, names)),
    }
}
