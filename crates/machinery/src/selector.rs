//! Label and field selectors: what `labelSelector=` and `fieldSelector=` say, and whether an object fits.

mod field;
mod label;
mod structured;

pub use field::{FieldOperator, FieldRequirement, FieldSelector, FieldSelectorError};
pub use label::{LabelOperator, LabelRequirement, LabelSelector, LabelSelectorError};
pub use structured::{Values, read, shown, validate, written};
