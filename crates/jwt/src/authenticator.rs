//! From claims to a user.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skiff_identity::UserInfo;

use crate::distributed::{self, Sources};
use crate::expressions::Expression;
use crate::keys::Keys;
use crate::token::Token;

/// One issuer, and what becomes of its tokens.
#[derive(Debug)]
pub struct Authenticator {
    /// `iss` of its tokens.
    pub issuer: String,
    /// Where its configuration is, if that is not below the issuer's own URL.
    pub discovery: Option<String>,
    /// Who signs the certificate of its server, in PEM; empty: whom the system trusts.
    pub authority: String,
    /// Tokens must be for one of them.
    pub audiences: Vec<String>,
    /// The algorithms of signatures that are taken.
    pub algorithms: Vec<String>,
    /// What must be true of claims.
    pub(crate) claim_rules: Vec<Rule>,
    /// What must be true of the user.
    pub(crate) user_rules: Vec<Rule>,
    pub(crate) mapping: Mapping,
}

/// Where an issuer tells of itself, if nothing else is said.
pub fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// What must be true.
#[derive(Debug)]
pub enum Rule {
    /// A claim has a value.
    Claim {
        /// Its name.
        name: String,
        /// The value.
        value: String,
    },
    /// An expression is true.
    Expression(Predicate),
}

/// An expression that must be true.
#[derive(Debug)]
pub struct Predicate {
    pub(crate) expression: Expression,
    pub(crate) message: String,
}

/// What a token says, proved.
#[derive(Debug)]
pub struct Claims {
    claims: Map<String, Value>,
    elsewhere: Sources,
}

/// Where parts of a user come from.
#[derive(Debug)]
pub struct Mapping {
    pub(crate) username: Source,
    pub(crate) groups: Option<Source>,
    pub(crate) uid: Option<Source>,
    pub(crate) extra: Vec<(String, Expression)>,
}

/// Where a part of a user comes from.
#[derive(Debug)]
pub enum Source {
    /// A claim, with something before it.
    Claim {
        /// Its name.
        name: String,
        /// What comes before it.
        prefix: String,
    },
    /// An expression.
    Expression(Computed),
}

/// A part of a user that is computed.
#[derive(Debug)]
pub struct Computed(pub(crate) Expression);

impl Authenticator {
    /// What a token says that is signed by one of these keys, of its issuer, and is for this server, now.
    ///
    /// # Errors
    /// Why it says nothing.
    pub fn verify(&self, token: &Token, keys: &Keys, now: Timestamp) -> Result<Claims, String> {
        token.check(&self.audiences, now)?;
        if !self.algorithms.contains(&token.algorithm) {
            let (expected, got) = (&self.algorithms, &token.algorithm);
            return Err(format!(
                "oidc: id token signed with unsupported algorithm, expected {expected:?} got {got:?}"
            ));
        }
        if !keys.have_signed(token) {
            return Err("failed to verify signature: failed to verify id token signature".to_owned());
        }
        let elsewhere = Sources::read(&token.claims)?;
        Ok(Claims { claims: token.claims.clone(), elsewhere })
    }

    /// Where a token's groups are served, which does not say them itself.
    pub fn groups_elsewhere(&self, claims: &Claims) -> Option<distributed::Source> {
        let claim = self.groups_claim()?;
        if claims.claims.contains_key(claim) { None } else { claims.elsewhere.of(claim) }
    }

    /// Takes the groups from what is said elsewhere.
    ///
    /// # Errors
    /// When nothing is said of groups there.
    pub fn take_groups(&self, claims: &mut Claims, said: &Claims, source: &str) -> Result<(), String> {
        let claim = self.groups_claim().unwrap_or_default();
        let value = said.claims.get(claim).ok_or_else(|| {
            format!("jwt returned by distributed claim endpoint {source:?} did not contain claim: {claim}")
        })?;
        claims.claims.insert(claim.to_owned(), value.clone());
        Ok(())
    }

    /// The claim that has the groups, if it is one.
    pub fn groups_claim(&self) -> Option<&str> {
        match &self.mapping.groups {
            Some(Source::Claim { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// The user that a token of this issuer is for.
    ///
    /// # Errors
    /// Why it is nobody's.
    pub fn user(&self, claims: &Claims) -> Result<UserInfo, String> {
        let claims = &claims.claims;
        let all = Value::Object(claims.clone());
        let groups = match &self.mapping.groups {
            Some(source) => source.groups(claims, &all)?,
            None => Vec::new(),
        };
        let mut user = UserInfo::authenticated(self.mapping.username(claims, &all)?, groups);
        if let Some(source) = &self.mapping.uid {
            user.uid = source.uid(claims, &all)?;
        }
        user.extra = self.mapping.extra(&all)?;
        for rule in &self.claim_rules {
            rule.check(&all, "claim validation expression")?;
        }
        let seen = json!({
            "username": user.name, "uid": user.uid, "groups": without_everybody(&user), "extra": user.extra,
        });
        for rule in &self.user_rules {
            rule.check(&seen, "user info validation rule")?;
        }
        Ok(user)
    }
}

/// The groups that the issuer says.
fn without_everybody(user: &UserInfo) -> Vec<&String> {
    user.groups.iter().filter(|group| *group != skiff_identity::AUTHENTICATED).collect()
}

impl Rule {
    /// `what` it is called in errors.
    fn check(&self, input: &Value, what: &str) -> Result<(), String> {
        match self {
            Self::Claim { name, value } => match input.get(name) {
                None => Err(format!("oidc: required claim {name} not present in ID token")),
                Some(Value::String(got)) if got == value => Ok(()),
                Some(Value::String(got)) => Err(format!(
                    "oidc: required claim {name} value does not match. Got = {got}, want = {value}"
                )),
                Some(other) => Err(format!("oidc: parse claim {name}: {}", no_text(other))),
            },
            Self::Expression(Predicate { expression, message }) => {
                let failed = |why: String| format!("oidc: error evaluating {what}: {why}");
                match expression.evaluate(input).map_err(failed)? {
                    Value::Bool(true) => Ok(()),
                    Value::Bool(false) => {
                        let text = &expression.text;
                        Err(failed(format!("validation expression '{text}' failed: {message}")))
                    }
                    _ => Err(failed("validation expression must return a boolean".to_owned())),
                }
            }
        }
    }
}

/// As Go's decoder says it.
fn no_text(value: &Value) -> String {
    let found = skiff_machinery::go::json_type(value);
    format!("json: cannot unmarshal {found} into Go value of type string")
}

impl Mapping {
    fn username(&self, claims: &Map<String, Value>, all: &Value) -> Result<String, String> {
        match &self.username {
            Source::Expression(Computed(expression)) => {
                let failed = |why: String| format!("oidc: error evaluating username claim expression: {why}");
                match expression.evaluate(all).map_err(failed)? {
                    Value::String(name) => Ok(name),
                    _ => Err(failed("username claim expression must return a string".to_owned())),
                }
            }
            Source::Claim { name, prefix } => {
                let failed = |why: &str| format!("oidc: parse username claims {name:?}: {why}");
                let given = match claims.get(name) {
                    Some(Value::String(text)) => text,
                    Some(other) => return Err(failed(&no_text(other))),
                    None => return Err(failed("claim not present")),
                };
                match claims.get("email_verified").filter(|_| name == "email") {
                    None | Some(Value::Bool(true)) => Ok(format!("{prefix}{given}")),
                    Some(Value::Bool(false)) => Err("oidc: email not verified".to_owned()),
                    Some(other) => {
                        let found = skiff_machinery::go::json_type(other);
                        Err(format!(
                            "oidc: parse 'email_verified' claim: json: cannot unmarshal {found} into Go value of type bool"
                        ))
                    }
                }
            }
        }
    }

    fn extra(&self, all: &Value) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        for (key, expression) in &self.extra {
            let failed = |why: String| {
                format!("oidc: error evaluating extra claim expression: {}: {why}", expression.text)
            };
            let values = strings(expression.evaluate(all).map_err(failed)?).map_err(failed)?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}

impl Source {
    fn groups(&self, claims: &Map<String, Value>, all: &Value) -> Result<Vec<String>, String> {
        match self {
            Self::Expression(Computed(expression)) => {
                let failed = |why: String| format!("oidc: error evaluating group claim expression: {why}");
                strings(expression.evaluate(all).map_err(failed)?).map_err(failed)
            }
            Self::Claim { name, prefix } => {
                let given = match claims.get(name) {
                    None => return Ok(Vec::new()),
                    Some(Value::String(one)) => vec![one.as_str()],
                    Some(Value::Array(many)) => {
                        let texts: Option<Vec<&str>> = many.iter().map(Value::as_str).collect();
                        texts.ok_or_else(|| {
                            format!("oidc: parse groups claim {name:?}: {}", no_text(&json!(many)))
                        })?
                    }
                    Some(other) => {
                        return Err(format!("oidc: parse groups claim {name:?}: {}", no_text(other)));
                    }
                };
                Ok(given.into_iter().map(|group| format!("{prefix}{group}")).collect())
            }
        }
    }

    fn uid(&self, claims: &Map<String, Value>, all: &Value) -> Result<String, String> {
        match self {
            Self::Expression(Computed(expression)) => {
                let failed = |why: String| format!("oidc: error evaluating uid claim expression: {why}");
                match expression.evaluate(all).map_err(failed)? {
                    Value::String(uid) => Ok(uid),
                    _ => Err(failed("uid claim expression must return a string".to_owned())),
                }
            }
            Self::Claim { name, .. } => match claims.get(name) {
                Some(Value::String(uid)) => Ok(uid.clone()),
                Some(other) => Err(format!("oidc: parse uid claim {name:?}: {}", no_text(other))),
                None => Err(format!("oidc: parse uid claim {name:?}: claim not present")),
            },
        }
    }
}

/// A text or texts; empty ones count as none.
fn strings(value: Value) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let texts = match value {
        Value::Null => Vec::new(),
        Value::String(one) => vec![one],
        Value::Array(many) => {
            let text = |value| if let Value::String(text) = value { Ok(text) } else { Err(wrong()) };
            many.into_iter().map(text).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}
