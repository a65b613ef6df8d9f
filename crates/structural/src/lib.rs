//! The schemas of custom resources, as `k8s.io/apiextensions-apiserver` treats them.
//!
//! A [`Structural`] is the typed form of `openAPIV3Schema` in a CustomResourceDefinition. From it alone come what a
//! definition may say, which fields objects keep, their defaults and their validation. Pure functions over JSON trees, no
//! I/O, no kinds.
//!
//! A definition is checked by [`definition::validate`]. An object is read by [`ObjectMeta::read`], completed by [`default`]
//! and checked by a [`Validator`], one for each version; [`schema`](schema()) tells server-side apply what it needs, and
//! [`openapi::published`] clients.
//!
//! Sources: the CustomResourceDefinition API reference and its concept pages, KEP-1979 and KEP-2332 (structural schemas,
//! pruning, defaulting), KEP-4008 (ratcheting). Messages are those of Kubernetes 1.36, word for word.

mod cel;
mod default;
pub mod definition;
pub mod fieldpath;
mod formats;
pub mod jsonpath;
mod listtype;
mod meta;
mod model;
mod numbers;
pub mod openapi;
mod parse;
mod path;
mod prune;
mod re2;
mod rules;
mod scale;
mod schema;
mod settled;
mod validate;
mod validator;

pub use cel::RuleSet;
pub use default::{default, drop_nulls};
pub use listtype::check_lists;
pub use meta::{Coerced, Malformed, ObjectMeta, ReadError, check_metadata};
pub use model::{Additional, Checks, ListType, MapType, Rule, Structural, Type};
pub use parse::ParseError;
pub use prune::prune;
pub use re2::{Pattern, PatternError};
pub use rules::{Definition, check};
pub use scale::ScalePaths;
pub use schema::{KindName, schema};
pub use settled::is_settled;
pub use validate::{validate, validate_update};
pub use validator::Validator;
