//! The files of authentication and authorisation.

use std::path::Path;
use std::sync::Arc;

use skiff_auth::Policies;
use skiff_jwt::Configuration;
use skiff_machinery::FieldErrors;
use skiff_registry::configuration::{Kind, decode, read_text};
use skiff_schema::Schema;

use super::authorization::{self, Decider};
use super::error::{AccessError, wrong};

const AUTHENTICATION: Kind = Kind {
    definition: "io.k8s.apiserver.config.AuthenticationConfiguration",
    names: &[
        ("apiserver.config.k8s.io/v1", "AuthenticationConfiguration"),
        ("apiserver.config.k8s.io/v1beta1", "AuthenticationConfiguration"),
    ],
};
const AUTHORIZATION: Kind = Kind {
    definition: "io.k8s.apiserver.config.AuthorizationConfiguration",
    names: &[
        ("apiserver.config.k8s.io/v1", "AuthorizationConfiguration"),
        ("apiserver.config.k8s.io/v1beta1", "AuthorizationConfiguration"),
    ],
};

fn text(file: &Path, what: &'static str) -> Result<Vec<u8>, AccessError> {
    std::fs::read(file).map_err(|source| AccessError::Unreadable { what, file: file.to_owned(), source })
}

pub(super) fn listed(errors: &FieldErrors) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What an AuthenticationConfiguration says; `own` is the issuer of ServiceAccounts' tokens.
pub(super) fn authentication(file: &Path, own: &[String]) -> Result<Configuration, AccessError> {
    let schema = Arc::new(Schema::of_table(skiff_jwt::SCHEMA));
    let text = text(file, "the authentication configuration")?;
    let read = read_text(&text).and_then(|object| decode(&object, &AUTHENTICATION, &schema));
    let read = read.map_err(|why| wrong(file, why))?;
    Configuration::read(&read, own).map_err(|errors| wrong(file, listed(&errors)))
}

/// What an AuthorizationConfiguration says.
pub(super) fn authorization(file: &Path) -> Result<Vec<Decider>, AccessError> {
    let schema = Arc::new(Schema::of_table(authorization::SCHEMA));
    let text = text(file, "the authorization configuration")?;
    let read = read_text(&text).and_then(|object| decode(&object, &AUTHORIZATION, &schema));
    let read = read.map_err(|why| wrong(file, why))?;
    authorization::read(&read).map_err(|errors| wrong(file, listed(&errors)))
}

/// The policies of attribute-based access control.
pub(super) fn policies(file: &Path) -> Result<Policies, AccessError> {
    let text = text(file, "the authorization policy file")?;
    let text = String::from_utf8(text).map_err(|error| wrong(file, error.to_string()))?;
    Policies::parse(&text).map_err(|why| wrong(file, why))
}
