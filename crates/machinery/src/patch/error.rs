//! Why patches are refused.

use thiserror::Error;

/// Why a patch was refused.
#[derive(Debug, Error)]
pub enum PatchError {
    /// The patch is not JSON, or not JSON of the right shape: 400.
    #[error("error decoding patch: {0}")]
    Decode(String),
    /// The patch is JSON but says something that no patch of its kind may say: 400.
    #[error("{0}")]
    Malformed(String),
    /// There are too many operations in it: 413.
    #[error("{0}")]
    TooLarge(String),
    /// The patch does not apply to this object (failed test, missing path): 422.
    #[error("{0}")]
    Unprocessable(String),
    /// The same, where Kubernetes takes it for a fault of its own: 500 without a reason.
    #[error("{0}")]
    Unclassified(String),
}
