//! Objects from one version of their kind to another, where somebody has to be asked.

use std::future::Future;
use std::pin::Pin;

use thiserror::Error;

use crate::{GroupVersion, Object};

/// What becomes of a conversion.
pub type Converting<'c> = Pin<Box<dyn Future<Output = Result<Vec<Object>, ConvertError>> + Send + 'c>>;

/// Who converts objects: a webhook.
pub trait Convert: Send + Sync {
    /// The same objects, in the same order, in another version of their kind. Their names, UIDs and the like stay.
    fn convert(&self, objects: Vec<Object>, to: &GroupVersion) -> Converting<'_>;
}

/// Objects could not be converted: 500, the text is the client's to read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ConvertError(pub String);
