//! AuthenticationConfiguration (`apiserver.config.k8s.io`), read and checked.

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, go, names};

use crate::authenticator::{Authenticator, Computed, Mapping, Predicate, Rule, Source};
use crate::expressions::{Expression, Over};
use crate::keys::ALGORITHMS;

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

fn check_issuer(issuer: &Value, path: &str, own: &[String], errors: &mut FieldErrors) {
    let (url, discovery) = (text(issuer, "url"), text(issuer, "discoveryURL"));
    let field = |name: &str| format!("{path}.{name}");
    if url.is_empty() {
        errors.push(FieldError::required(field("url"), ""));
    } else {
        if own.iter().any(|own| own == url) {
            let detail = format!("URL must not overlap with disallowed issuers: [{}]", own.join(" "));
            errors.push(FieldError::invalid(field("url"), url, detail));
        }
        check_url(url, &field("url"), errors);
    }
    if !discovery.is_empty() {
        if !url.is_empty() && url.trim_end_matches('/') == discovery.trim_end_matches('/') {
            let detail = "discoveryURL must be different from URL";
            errors.push(FieldError::invalid(field("discoveryURL"), discovery, detail));
        }
        check_url(discovery, &field("discoveryURL"), errors);
    }
    check_audiences(issuer, &field("audiences"), &field("audienceMatchPolicy"), errors);
    let authority = text(issuer, "certificateAuthority");
    if !authority.is_empty() {
        let any = CertificateDer::pem_slice_iter(authority.as_bytes()).any(|one| one.is_ok());
        if !any {
            let detail = "data does not contain any valid RSA or ECDSA certificates";
            errors.push(FieldError::invalid(field("certificateAuthority"), "<omitted>", detail));
        }
    }
    match text(issuer, "egressSelectorType") {
        // There is one network: both lead there.
        "" | "controlplane" | "cluster" => {}
        other => errors.push(FieldError::invalid(
            field("egressSelectorType"),
            other,
            "egress selector must be either controlplane or cluster",
        )),
    }
}

fn check_url(url: &str, path: &str, errors: &mut FieldErrors) {
    let mut wrong = |detail: &str| errors.push(FieldError::invalid(path, url, detail));
    let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) = match skiff_cel::split_scheme(before) {
        Ok(parts) => parts,
        Err(why) => return wrong(&format!("parse {}: {why}", go::quoted(before))),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("https") {
        wrong("URL scheme must be https");
    }
    if authority.contains('@') {
        wrong("URL must not contain a username or password");
    }
    if !query.is_empty() {
        wrong("URL must not contain a query");
    }
    if !fragment.is_empty() {
        wrong("URL must not contain a fragment");
    }
}

fn check_audiences(issuer: &Value, path: &str, policy_path: &str, errors: &mut FieldErrors) {
    let (mut seen, policy) = (BTreeSet::new(), text(issuer, "audienceMatchPolicy"));
    for (i, audience) in items(issuer, "audiences") {
        let audience = audience.as_str().unwrap_or_default();
        if audience.is_empty() {
            errors.push(FieldError::required(format!("{path}[{i}]"), ""));
        }
        if !seen.insert(audience) {
            errors.push(FieldError::duplicate(format!("{path}[{i}]"), audience));
        }
    }
    let wrong = match items(issuer, "audiences").count() {
        0 => return errors.push(FieldError::required(path, format!("at least one {path} is required"))),
        1 if !matches!(policy, "" | "MatchAny") => {
            "audienceMatchPolicy must be empty or MatchAny for single audience"
        }
        2.. if policy != "MatchAny" => "audienceMatchPolicy must be MatchAny for multiple audiences",
        _ => return,
    };
    errors.push(FieldError::invalid(policy_path, policy, wrong));
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

fn mapping(mappings: &Value, path: &str, uses: &mut Uses, errors: &mut FieldErrors) -> Option<Mapping> {
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

/// What the options `--oidc-…` say, as an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--oidc-issuer-url`
    pub issuer: String,
    /// `--oidc-client-id`
    pub client: String,
    /// What `--oidc-ca-file` holds.
    pub authority: String,
    /// `--oidc-username-claim`
    pub username_claim: String,
    /// `--oidc-username-prefix`; `-` is none, and empty the issuer for claims other than `email`.
    pub username_prefix: String,
    /// `--oidc-groups-claim`
    pub groups_claim: String,
    /// `--oidc-groups-prefix`
    pub groups_prefix: String,
    /// `--oidc-required-claim`
    pub required: Vec<(String, String)>,
    /// `--oidc-signing-algs`
    pub algorithms: Vec<String>,
}

impl Flags {
    /// As the file has it.
    ///
    /// # Errors
    /// What is wrong, in Kubernetes' words.
    pub fn configuration(&self, own: &[String]) -> Result<Configuration, String> {
        for algorithm in &self.algorithms {
            if !ALGORITHMS.contains(&algorithm.as_str()) {
                return Err(format!("oidc: unsupported signing alg: {algorithm:?}"));
            }
        }
        let prefix = match (&*self.username_prefix, &*self.username_claim) {
            ("-", _) | ("", "email") => "",
            ("", _) => &format!("{}#", self.issuer),
            (prefix, _) => prefix,
        };
        let mut mappings = serde_json::json!({"username": {"claim": self.username_claim, "prefix": prefix}});
        if !self.groups_claim.is_empty() {
            mappings["groups"] =
                serde_json::json!({"claim": self.groups_claim, "prefix": self.groups_prefix});
        }
        let rules: Vec<Value> = self
            .required
            .iter()
            .map(|(claim, value)| serde_json::json!({"claim": claim, "requiredValue": value}))
            .collect();
        let issuer = serde_json::json!({
            "url": self.issuer, "audiences": [self.client], "certificateAuthority": self.authority,
        });
        let file = serde_json::json!({
            "jwt": [{"issuer": issuer, "claimMappings": mappings, "claimValidationRules": rules}],
        });
        let mut read = Configuration::read(&file, own)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        for issuer in &mut read.issuers {
            issuer.algorithms.clone_from(&self.algorithms);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
