//! AuthenticationConfiguration (`apiserver.config.k8s.io`), read and checked.

mod flags;
mod issuer;
mod mappings;

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, go};

use crate::authenticator::{Authenticator, Predicate, Rule};
use crate::expressions::{Expression, Over};
use crate::keys::ALGORITHMS;

pub use flags::Flags;
use issuer::check_issuer;
use mappings::mapping;

/// The schema of the file, in the words of the crate `schema`: `io.k8s.apiserver.config.AuthenticationConfiguration`.
pub const SCHEMA: &str = include_str!("authentication.txt");

/// So many issuers may there be.
const MOST_ISSUERS: usize = 64;

/// What a file says.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Issuers of tokens.
    pub issuers: Vec<Authenticator>,
    /// Who may come without credentials, if that is said.
    pub anonymous: Option<Anonymous>,
}

/// Who may come without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// Whether anybody may.
    pub enabled: bool,
    /// The only paths at which one may; empty: all.
    pub paths: BTreeSet<String>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value[field].as_array().into_iter().flatten().enumerate()
}

impl Configuration {
    /// Reads what was decoded against [`SCHEMA`]. `own` is the issuer of ServiceAccounts' tokens.
    ///
    /// # Errors
    /// What is wrong with its fields, in Kubernetes' words.
    pub fn read(file: &Value, own: &[String]) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::new();
        let count = file["jwt"].as_array().map_or(0, Vec::len);
        if count > MOST_ISSUERS {
            return Err([FieldError::too_many("jwt", count, MOST_ISSUERS)].into());
        }
        let (mut urls, mut discoveries, mut issuers) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (i, jwt) in items(file, "jwt") {
            let path = format!("jwt[{i}]");
            issuers.extend(authenticator(jwt, &path, own, &mut errors));
            let issuer = &jwt["issuer"];
            let (url, discovery) = (text(issuer, "url"), text(issuer, "discoveryURL"));
            if !urls.insert(url) {
                errors.push(FieldError::duplicate(format!("{path}.issuer.url"), url));
            }
            if !discovery.is_empty() && !discoveries.insert(discovery) {
                errors.push(FieldError::duplicate(format!("{path}.issuer.discoveryURL"), discovery));
            }
        }
        let anonymous = anonymous(&file["anonymous"], &mut errors);
        if errors.is_empty() { Ok(Self { issuers, anonymous }) } else { Err(errors) }
    }
}

fn anonymous(value: &Value, errors: &mut FieldErrors) -> Option<Anonymous> {
    value.as_object()?;
    let enabled = value["enabled"] == true;
    let paths: BTreeSet<String> =
        items(value, "conditions").map(|(_, condition)| text(condition, "path").to_owned()).collect();
    if !enabled && !paths.is_empty() {
        let shown = paths.iter().map(|path| format!("{{{}:{}}}", go::quoted("path"), go::quoted(path)));
        let shown = format!("[{}]", shown.collect::<Vec<_>>().join(","));
        let detail = "enabled should be set to true when conditions are defined";
        errors.push(FieldError::invalid("anonymous.conditions", Value::Null, detail).showing(shown));
    }
    Some(Anonymous { enabled, paths })
}

/// What is compiled of one issuer, and what that uses.
#[derive(Default)]
struct Uses {
    email: bool,
    email_verified: bool,
}

fn authenticator(jwt: &Value, path: &str, own: &[String], errors: &mut FieldErrors) -> Option<Authenticator> {
    let mut uses = Uses::default();
    let issuer = &jwt["issuer"];
    check_issuer(issuer, &format!("{path}.issuer"), own, errors);
    let claim_rules = claim_rules(jwt, &format!("{path}.claimValidationRules"), &mut uses, errors);
    let mapping = mapping(&jwt["claimMappings"], &format!("{path}.claimMappings"), &mut uses, errors);
    let user_rules = user_rules(jwt, &format!("{path}.userValidationRules"), errors);
    Some(Authenticator {
        issuer: text(issuer, "url").to_owned(),
        discovery: Some(text(issuer, "discoveryURL").to_owned()).filter(|url| !url.is_empty()),
        authority: text(issuer, "certificateAuthority").to_owned(),
        audiences: items(issuer, "audiences")
            .filter_map(|(_, one)| one.as_str())
            .map(str::to_owned)
            .collect(),
        algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
        claim_rules,
        user_rules,
        mapping: mapping?,
    })
}

fn compiled(
    expression: &str,
    over: Over,
    is_rule: bool,
    path: &str,
    errors: &mut FieldErrors,
) -> Option<Expression> {
    let compiled = Expression::compile(expression, over, is_rule, path);
    compiled.map_err(|error| errors.push(error)).ok()
}

fn claim_rules(jwt: &Value, path: &str, uses: &mut Uses, errors: &mut FieldErrors) -> Vec<Rule> {
    let (mut claims, mut expressions, mut rules) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (i, rule) in items(jwt, "claimValidationRules") {
        let path = format!("{path}[{i}]");
        let (claim, expression) = (text(rule, "claim"), text(rule, "expression"));
        let (value, message) = (text(rule, "requiredValue"), text(rule, "message"));
        match (claim.is_empty(), expression.is_empty()) {
            (false, false) => {
                errors.push(FieldError::invalid(path, claim, "claim and expression can't both be set"));
            }
            (true, true) => errors.push(FieldError::required(path, "claim or expression is required")),
            (false, true) => {
                if !message.is_empty() {
                    let detail = "may not be specified when claim is set";
                    errors.push(FieldError::invalid(format!("{path}.message"), message, detail));
                }
                if !claims.insert(claim) {
                    errors.push(FieldError::duplicate(format!("{path}.claim"), claim));
                }
                rules.push(Rule::Claim { name: claim.to_owned(), value: value.to_owned() });
            }
            (true, false) => {
                if !value.is_empty() {
                    let detail = "may not be specified when expression is set";
                    errors.push(FieldError::invalid(format!("{path}.requiredValue"), value, detail));
                }
                let field = format!("{path}.expression");
                if !expressions.insert(expression) {
                    errors.push(FieldError::duplicate(field, expression));
                } else if let Some(expression) = compiled(expression, Over::Claims, true, &field, errors) {
                    uses.email_verified |= expression.selects("email_verified");
                    rules.push(Rule::Expression(Predicate { expression, message: message.to_owned() }));
                }
            }
        }
    }
    rules
}

fn user_rules(jwt: &Value, path: &str, errors: &mut FieldErrors) -> Vec<Rule> {
    let (mut seen, mut rules) = (BTreeSet::new(), Vec::new());
    for (i, rule) in items(jwt, "userValidationRules") {
        let (expression, path) = (text(rule, "expression"), format!("{path}[{i}].expression"));
        if expression.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !seen.insert(expression) {
            errors.push(FieldError::duplicate(path, expression));
        } else if let Some(expression) = compiled(expression, Over::User, true, &path, errors) {
            let message = text(rule, "message").to_owned();
            rules.push(Rule::Expression(Predicate { expression, message }));
        }
    }
    rules
}

#[cfg(test)]
mod tests;
