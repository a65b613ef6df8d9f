//! How much an image may ask for. Every bound has a name, under which a person can raise it; `docs/images.md` lists them.

use std::fmt;
use std::str::FromStr;

/// Something of an image that is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Bytes of an archive of images, expanded.
    ArchiveBytes,
    /// Bytes of an image's layers, unpacked; holes of files count.
    ImageBytes,
    /// Layers of one image.
    Layers,
    /// Entries of one archive or layer.
    Entries,
    /// Bytes of a name in a layer or archive.
    NameBytes,
    /// Bytes of all extended headers of one entry.
    HeaderBytes,
    /// Directories within each other.
    Depth,
    /// How many times larger something compressed may become.
    Ratio,
    /// Bytes of a manifest, an index or a configuration.
    DocumentBytes,
    /// Seconds of the unpacking of one layer or archive.
    Seconds,
}

use Bound::{
    ArchiveBytes, Depth, DocumentBytes, Entries, HeaderBytes, ImageBytes, Layers, NameBytes, Ratio, Seconds,
};

/// Every bound: its name, its default, and what there is more of when it is passed. In the order of [`Bound`].
const TABLE: [(Bound, &str, u64, &str); 10] = [
    (ArchiveBytes, "archive-bytes", 64 << 30, "bytes when expanded"),
    (ImageBytes, "image-bytes", 64 << 30, "bytes of unpacked layers"),
    // What docker allows.
    (Layers, "layers", 127, "layers"),
    (Entries, "entries", 2_000_000, "entries"),
    // The longest path Linux takes.
    (NameBytes, "name-bytes", 4096, "bytes in a name"),
    // What Go's tar package allows.
    (HeaderBytes, "header-bytes", 1 << 20, "bytes of extended headers at one entry"),
    (Depth, "depth", 256, "directories within each other"),
    // Gzip cannot do better than 1032.
    (Ratio, "ratio", 1100, "times its compressed size"),
    // What registries allow.
    (DocumentBytes, "document-bytes", 4 << 20, "bytes in a manifest or configuration"),
    (Seconds, "seconds", 1800, "seconds of unpacking"),
];

impl Bound {
    fn name(self) -> &'static str {
        TABLE[self as usize].1
    }
}

/// The bounds in force. As text: `name=number` joined by commas, numbers with an optional `Ki`, `Mi`, `Gi` or `Ti`;
/// what is not named keeps its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits([u64; TABLE.len()]);

/// A text that names no limits.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLimits {
    /// Not `name=number`.
    #[error("{0:?} is not of the form NAME=NUMBER, the number with an optional Ki, Mi, Gi or Ti")]
    Form(String),
    /// No bound has this name.
    #[error("there is no image limit {0:?}; there are {names}", names = names())]
    Name(String),
}

fn names() -> String {
    TABLE.map(|row| row.1).join(", ")
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self(TABLE.map(|row| row.2))
    }
}

impl FromStr for ImageLimits {
    type Err = InvalidLimits;

    fn from_str(text: &str) -> Result<Self, InvalidLimits> {
        let mut limits = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let form = || InvalidLimits::Form(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(form)?;
            let row = TABLE.iter().find(|row| row.1 == name);
            let (bound, ..) = row.ok_or_else(|| InvalidLimits::Name(name.to_owned()))?;
            limits.0[*bound as usize] = number(value).ok_or_else(form)?;
        }
        Ok(limits)
    }
}

fn number(text: &str) -> Option<u64> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl fmt::Display for ImageLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            TABLE.iter().zip(self.0).map(|(row, value)| format!("{}={value}", row.1)).collect();
        f.write_str(&parts.join(","))
    }
}

/// A bound that was passed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has more than {limit} {}; if that is right for this image, raise the bound with --image-limit {}=NUMBER",
    TABLE[*bound as usize].3, bound.name()
)]
pub(super) struct Exceeded {
    bound: Bound,
    limit: u64,
}

impl From<Exceeded> for std::io::Error {
    fn from(error: Exceeded) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

impl ImageLimits {
    pub(super) fn get(&self, bound: Bound) -> u64 {
        self.0[bound as usize]
    }

    /// The same with another value of one bound.
    pub(super) fn with(mut self, bound: Bound, value: u64) -> Self {
        self.0[bound as usize] = value;
        self
    }

    /// Whether `amount` is within a bound.
    pub(super) fn check(&self, bound: Bound, amount: u64) -> Result<(), Exceeded> {
        let limit = self.get(bound);
        if amount <= limit { Ok(()) } else { Err(Exceeded { bound, limit }) }
    }

    /// The error of a passed bound.
    pub(super) fn exceeded(&self, bound: Bound) -> Exceeded {
        Exceeded { bound, limit: self.get(bound) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        let limits: ImageLimits = "entries=5,image-bytes=2Gi".parse().unwrap();
        assert_eq!((limits.get(Entries), limits.get(ImageBytes)), (5, 2 << 30));
        assert_eq!(limits.get(Layers), ImageLimits::default().get(Layers));
        assert_eq!(limits.to_string().parse::<ImageLimits>().unwrap(), limits);
        for bad in ["entries", "entries=", "entries=-1", "entries=5Pi", "image-bytes=99999999999Ti"] {
            assert!(matches!(bad.parse::<ImageLimits>(), Err(InvalidLimits::Form(_))), "{bad}");
        }
        let error = "rooms=1".parse::<ImageLimits>().unwrap_err().to_string();
        assert!(error.contains("\"rooms\"") && error.contains("header-bytes"), "{error}");
    }

    #[test]
    fn the_documentation_lists_every_limit() {
        let text = include_str!("../../../../docs/images.md");
        for (_, name, default, _) in TABLE {
            let value = ImageLimits::from_str(&format!("{name}={default}")).unwrap().to_string();
            let line = text.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let written =
                line.and_then(|line| line.split(" | ").nth(1)).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(
                ImageLimits::from_str(&format!("{name}={written}")).unwrap().to_string(),
                value,
                "{name}"
            );
        }
    }

    #[test]
    fn the_table_is_in_order_and_errors_name_the_remedy() {
        for (n, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, n);
        }
        let limits = ImageLimits::default();
        assert_eq!(limits.check(Layers, 127), Ok(()));
        let error = limits.check(Layers, 128).unwrap_err().to_string();
        assert!(error.contains("more than 127 layers") && error.contains("--image-limit layers="), "{error}");
    }
}
