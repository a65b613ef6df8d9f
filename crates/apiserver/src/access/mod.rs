//! Who else tells whose tokens are ([`issuers`], [`token_webhook`]) and who may do what ([`webhook`]), as options and files of
//! kube-apiserver say: what [`skiff_auth`] asks through its traits, done over the network. A file that is changed is read again
//! ([`reload`]); one that cannot be used changes nothing, and the log says why.

mod authorization;
mod conditions;
mod files;
mod issuers;
mod options;
mod reload;
mod start;
mod token_webhook;
mod uses;
mod webhook;

pub use options::{
    AccessError, Authentication, AuthenticationOptions, Authorization, AuthorizationOptions, OidcOptions,
    WebhookOptions,
};

pub use start::{Outcomes, Reloads};
pub(crate) use start::{follow, start};
pub(crate) use uses::keep as note_uses;
