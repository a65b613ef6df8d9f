//! What everything that talks with the kernel shares: netlink messages as bytes, requests, notifications, and the pace of repairs.
//!
//! Two facts shaped it:
//!
//! * **Bytes are only ever looked at, never trusted.** A length that leads out of the buffer ends the iteration; nothing here
//!   panics on any input.
//! * **Notifications are chosen in the kernel.** A socket filter drops what does not concern us before it is queued, so
//!   that neither our own changes nor a busy neighbour's wake us.

mod message;
mod notifications;
mod pace;
mod requests;

pub use message::{Attributes, Message, messages};
pub use notifications::{Group, Heard, Notifications, Subsystem, filter};
pub use pace::Pace;
pub use requests::{Mode, Requests};
