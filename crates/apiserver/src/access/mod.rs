//! Who else tells whose tokens are ([`issuers`] with their keys of [`signer`], [`token_webhook`]) and who may do what ([`webhook`]), as options and files of
//! kube-apiserver say: what [`skiff_auth`] asks through its traits, done over the network. A file that is changed is read again
//! ([`reload`]); one that cannot be used changes nothing, and the log says why.

mod authorization;
mod conditions;
mod error;
mod files;
mod hook;
mod issuers;
mod options;
mod reload;
mod signer;
mod start;
mod token_webhook;
mod uses;
mod webhook;

pub use error::AccessError;
pub use hook::WebhookOptions;
pub use options::{Authentication, AuthenticationOptions, Authorization, AuthorizationOptions, OidcOptions};
pub use start::{Outcomes, Reloads};
pub(crate) use start::{follow, start};
pub(crate) use uses::keep as note_uses;
