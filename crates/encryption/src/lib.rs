//! Encryption of what is stored, as an `EncryptionConfiguration` says it: which keys seal the values of which resources, and
//! how a sealed value looks. The bytes are Kubernetes' own, so that what one wrote the other can read.
//!
//! - A [`Configuration`] is what the file says, checked in Kubernetes' words.
//! - A [`Keyring`] is the store's [`skiff_store::Transformer`] for a configuration, which can be replaced by another while the
//!   store is open. It keeps every key that it ever sealed with, so that the store can write a value to disk again.
//! - The one edge is [`grpc`]: a key management service is asked over a socket. What is asked when, and what comes of the
//!   answers, is decided in [`kms`], against a narrow trait.

mod cipher;
mod configuration;
mod envelope;
pub mod grpc;
mod keyring;
pub mod kms;

pub use configuration::{Configuration, DEFINITION, KmsConfig, NAMES, SCHEMA};
pub use keyring::Keyring;
