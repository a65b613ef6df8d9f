//! How claims become a user: name, groups, UID and the rest.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, names};

use super::{Uses, compiled, items, text};
use crate::authenticator::{Computed, Mapping, Source};
use crate::expressions::{Expression, Over};

pub(super) fn mapping(
    mappings: &Value,
    path: &str,
    uses: &mut Uses,
    errors: &mut FieldErrors,
) -> Option<Mapping> {
    let username = prefixed(&mappings["username"], &format!("{path}.username"), true, errors);
    if let Some(Source::Expression(Computed(expression))) = &username {
        uses.email |= expression.selects("email");
        uses.email_verified |= expression.selects("email_verified");
    }
    let groups = prefixed(&mappings["groups"], &format!("{path}.groups"), false, errors);
    let uid = uid(&mappings["uid"], &format!("{path}.uid"), errors);
    let extra = extra(mappings, &format!("{path}.extra"), errors);
    uses.email_verified |= extra.iter().any(|(_, expression)| expression.selects("email_verified"));
    if uses.email && !uses.email_verified {
        errors.push(FieldError::invalid(
            format!("{path}.username.expression"),
            text(&mappings["username"], "expression"),
            "claims.email_verified must be used in claimMappings.username.expression or \
             claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in \
             claimMappings.username.expression",
        ));
    }
    Some(Mapping { username: username?, groups, uid, extra })
}

fn prefixed(given: &Value, path: &str, is_required: bool, errors: &mut FieldErrors) -> Option<Source> {
    let (claim, expression, prefix) =
        (text(given, "claim"), text(given, "expression"), given["prefix"].as_str());
    match (claim.is_empty(), expression.is_empty()) {
        (false, false) => {
            errors.push(FieldError::invalid(path, "", "claim and expression can't both be set"));
            None
        }
        (true, true) => {
            if is_required {
                errors.push(FieldError::required(path, "claim or expression is required"));
            }
            None
        }
        (true, false) => {
            if let Some(prefix) = prefix {
                let detail = "may not be specified when expression is set";
                errors.push(FieldError::invalid(format!("{path}.prefix"), prefix, detail));
            }
            let field = format!("{path}.expression");
            compiled(expression, Over::Claims, false, &field, errors)
                .map(|expression| Source::Expression(Computed(expression)))
        }
        (false, true) => {
            if prefix.is_none() {
                let detail = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                errors.push(FieldError::required(format!("{path}.prefix"), detail));
            }
            Some(Source::Claim { name: claim.to_owned(), prefix: prefix.unwrap_or_default().to_owned() })
        }
    }
}

fn uid(given: &Value, path: &str, errors: &mut FieldErrors) -> Option<Source> {
    let (claim, expression) = (text(given, "claim"), text(given, "expression"));
    match (claim.is_empty(), expression.is_empty()) {
        (false, false) => {
            errors.push(FieldError::invalid(path, "", "claim and expression can't both be set"));
            None
        }
        (true, true) => None,
        (false, true) => Some(Source::Claim { name: claim.to_owned(), prefix: String::new() }),
        (true, false) => compiled(expression, Over::Claims, false, &format!("{path}.expression"), errors)
            .map(|expression| Source::Expression(Computed(expression))),
    }
}

fn extra(mappings: &Value, path: &str, errors: &mut FieldErrors) -> Vec<(String, Expression)> {
    let (mut seen, mut extra) = (BTreeSet::new(), Vec::new());
    for (i, mapping) in items(mappings, "extra") {
        let (key, expression) = (text(mapping, "key"), text(mapping, "valueExpression"));
        let (path, field) = (format!("{path}[{i}].key"), format!("{path}[{i}].valueExpression"));
        check_key(key, &path, errors);
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(path, key));
        } else if expression.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if let Some(expression) = compiled(expression, Over::Claims, false, &field, errors) {
            extra.push((key.to_owned(), expression));
        }
    }
    extra
}

/// A key is a path below a domain that is not Kubernetes' own.
fn check_key(key: &str, path: &str, errors: &mut FieldErrors) {
    if key.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    let (domain, rest) = key.split_once('/').unwrap_or_default();
    if domain.is_empty() || rest.is_empty() {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(path, key, detail));
    } else if let Some(error) = names::subdomain(domain) {
        errors.push(FieldError::invalid(path, domain, error.detail));
    }
    if key.chars().any(char::is_uppercase) {
        errors.push(FieldError::invalid(path, key, "must be lowercase"));
    }
    let reserved = ["k8s.io", "kubernetes.io"];
    let within = |of: &&str| domain == *of || domain.strip_suffix(*of).is_some_and(|sub| sub.ends_with('.'));
    if reserved.iter().any(within) {
        let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        errors.push(FieldError::invalid(path, key, detail));
    }
}
