//! Label and field selectors: what `labelSelector=` and `fieldSelector=` say, and whether an object fits.

mod field;
mod label;
mod validate;

pub use field::{FieldOperator, FieldRequirement, FieldSelector, FieldSelectorError};
pub use label::{LabelOperator, LabelRequirement, LabelSelector, LabelSelectorError, shown};
pub use validate::{Values, validate};
