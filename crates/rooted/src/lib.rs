//! File work below directories that a container or an image can write, done as root and safe all the same.
//!
//! Whoever can write a directory can put a symbolic link, a named pipe, a device node or a mount where a file was a moment
//! ago, and swap one for the other as fast as it likes. A path that was checked says nothing about the path that is
//! used next. Three rules make that harmless, and nothing here can be used without them:
//!
//! - *A directory is a descriptor* ([`Root`]). Paths are relative to it and resolved by the kernel in one step
//!   (`openat2`), never through magic links; [`Follow`] says what symbolic links may do.
//! - *Changes are made to a plain name in a directory that is held open.* No link is followed on the way, and what is
//!   there already is replaced or refused, never written through.
//! - *What was looked at is what is used* ([`Handle`]). A type is checked on the descriptor that is then read or mounted
//!   ([`Detached`]); files are opened for real only once they are known to be regular, so nothing waits for a pipe or
//!   wakes a device.
//!
//! Removing a tree needs three descriptors and no recursion however deep it is, and stops at mounts.
//!
//! The crates that do such work forbid `std::fs` and the like in their `clippy.toml`.

mod change;
mod find;
mod handle;
mod loops;
mod mount;
mod remove;
mod usage;

pub use change::Owner;
pub use find::{Entries, Entry, Follow, Root};
pub use handle::{Handle, Kind};
pub use loops::{Lasting, LoopDevice, detach_below};
pub use mount::{Detached, Restriction, Spread};
