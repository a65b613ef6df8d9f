//! Expressions, and what Kubernetes 1.36 says of them: types, errors, estimated and actual costs, values. Each case in `cases/`
//! is an expression and facts about it.

mod common;

use common::{Fixture, render, show, unescape};
use skiff_cel::{CompileError, limits};

/// One fact about an expression, as `name: text`.
fn facts(fixture: &Fixture, expression: &str) -> Vec<String> {
    let program = match fixture.environment.compile(expression) {
        Ok(program) => program,
        Err(CompileError::Invalid(errors)) => return vec![format!("invalid: {}", show(&errors.to_string()))],
        // The type of what has no value cannot be asked for.
        Err(CompileError::Constant(error)) => return vec![format!("program: {}", show(&error.to_string()))],
    };
    let estimate = program.estimate();
    let bound = |cost: u64| if cost == u64::MAX { "max".to_owned() } else { cost.to_string() };
    let mut facts = vec![
        format!("type: {}", program.output_type()),
        format!("estimate: {} {}", bound(estimate.min), bound(estimate.max)),
    ];
    let activation = fixture.activation();
    let evaluation = program.evaluate(&activation, limits::PER_CALL);
    facts.push(format!("cost: {}", evaluation.cost));
    facts.push(match evaluation.result {
        Ok(value) => format!("value: {}", show(&render(&value))),
        Err(error) => format!("error: {}", show(&error.to_string())),
    });
    facts
}

fn check(cases: &str) {
    let fixture = Fixture::new();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for case in cases.split("\n\n") {
        let mut lines = case.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let Some(expression) = lines.next().and_then(|line| line.strip_prefix("expr: ")) else { continue };
        let found = facts(&fixture, &unescape(expression));
        for expected in lines.filter(|line| !skipped(line, &found)) {
            if !found.iter().any(|fact| fact == expected) {
                let kind = expected.split(": ").next().unwrap_or_default();
                let same = found.iter().find(|fact| fact.starts_with(kind));
                wrong.push(format!("{expression}\n  expected {expected}\n  found    {same:?} of {found:?}"));
                break;
            }
            checked += 1;
        }
    }
    assert!(checked > 0, "no cases");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A constant without value ends the compilation, before anything is known of its type.
fn skipped(fact: &str, found: &[String]) -> bool {
    let constant = found.first().is_some_and(|first| first.starts_with("program: "));
    constant && !fact.starts_with("program: ")
}

#[test]
fn mistakes() {
    check(include_str!("cases/syntax.txt"));
}

#[test]
fn values() {
    check(include_str!("cases/values.txt"));
}

#[test]
fn macros() {
    check(include_str!("cases/macros.txt"));
}

#[test]
fn libraries() {
    check(include_str!("cases/library.txt"));
}

#[test]
fn random_expressions() {
    check(include_str!("cases/random.txt"));
}

#[test]
fn random_mistakes() {
    check(include_str!("cases/wrong.txt"));
}
