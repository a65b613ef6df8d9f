//! Formats of texts and numbers.

mod email;
mod network;
mod text;
mod time;
mod uri;

use crate::model::Type;
pub(crate) use uri::{UrlParts, has_scheme_and_host};

/// A format of texts, see the list in the API reference of JSONSchemaProps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    BsonObjectId,
    Uri,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    Cidr,
    Mac,
    Uuid,
    Uuid3,
    Uuid4,
    Uuid5,
    Isbn,
    Isbn10,
    Isbn13,
    CreditCard,
    Ssn,
    HexColor,
    RgbColor,
    Byte,
    Password,
    Date,
    Duration,
    DateTime,
    ShortName,
    LongName,
}

impl Format {
    /// The format of a name, in which dashes mean nothing.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.replace('-', "").as_str() {
            "bsonobjectid" => Self::BsonObjectId,
            "uri" => Self::Uri,
            "email" => Self::Email,
            "hostname" => Self::Hostname,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "cidr" => Self::Cidr,
            "mac" => Self::Mac,
            "uuid" => Self::Uuid,
            "uuid3" => Self::Uuid3,
            "uuid4" => Self::Uuid4,
            "uuid5" => Self::Uuid5,
            "isbn" => Self::Isbn,
            "isbn10" => Self::Isbn10,
            "isbn13" => Self::Isbn13,
            "creditcard" => Self::CreditCard,
            "ssn" => Self::Ssn,
            "hexcolor" => Self::HexColor,
            "rgbcolor" => Self::RgbColor,
            "byte" => Self::Byte,
            "password" => Self::Password,
            "date" => Self::Date,
            "duration" => Self::Duration,
            "datetime" => Self::DateTime,
            "k8sshortname" => Self::ShortName,
            "k8slongname" => Self::LongName,
            _ => return None,
        })
    }

    /// Whether a text has the format.
    pub(crate) fn fits(self, text: &str) -> bool {
        match self {
            Self::BsonObjectId => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Self::Uri => uri::is_request_uri(text),
            Self::Email => email::is_address(text),
            Self::Hostname => network::is_hostname(text),
            Self::Ipv4 => network::is_ipv4(text),
            Self::Ipv6 => network::is_ipv6(text),
            Self::Cidr => network::is_cidr(text),
            Self::Mac => network::is_mac(text),
            Self::Uuid => text::is_uuid(text, None),
            Self::Uuid3 => text::is_uuid(text, Some('3')),
            Self::Uuid4 => text::is_uuid(text, Some('4')),
            Self::Uuid5 => text::is_uuid(text, Some('5')),
            Self::Isbn => text::is_isbn10(text) || text::is_isbn13(text),
            Self::Isbn10 => text::is_isbn10(text),
            Self::Isbn13 => text::is_isbn13(text),
            Self::CreditCard => text::is_credit_card(text),
            Self::Ssn => text::is_ssn(text),
            Self::HexColor => text::is_hex_color(text),
            Self::RgbColor => text::is_rgb_color(text),
            Self::Byte => text::is_base64(text),
            Self::Password => true,
            Self::Date => time::is_date(text),
            Self::Duration => time::is_duration(text),
            Self::DateTime => time::is_date_time(text),
            Self::ShortName => text.len() <= 63 && text::is_name_segment(text),
            Self::LongName => text.len() <= 253 && text.split('.').all(text::is_name_segment),
        }
    }
}

/// Whether a format says something about values of a type.
pub(crate) fn is_for(ty: &Type, format: &str) -> bool {
    match ty {
        Type::Any | Type::String => Format::named(format).is_some(),
        Type::Integer => matches!(format, "int32" | "int64"),
        Type::Number => matches!(format, "float" | "double"),
        _ => false,
    }
}
