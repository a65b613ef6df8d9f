//! Addresses and networks.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::error::EvalError;
use crate::value::{Meter, Value};

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    ("ip", &["string_to_ip (string) -> IP", "cidr_ip CIDR.() -> IP"], |_, args| match args {
        [Value::String(text)] => address(text).map(Value::Ip),
        [Value::Cidr(cidr)] => Ok(Value::Ip(cidr.addr())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("family", &["ip_family IP.() -> int"], |_, args| match args {
        [Value::Ip(address)] => Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 })),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("ip.isCanonical", &["ip_is_canonical (string) -> bool"], |_, args| match args {
        [Value::String(text)] => Ok(Value::Bool(address(text)?.to_string() == **text)),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("isUnspecified", &["ip_is_unspecified IP.() -> bool"], |_, args| {
        test(args, |address| address.is_unspecified())
    }),
    ("isLoopback", &["ip_is_loopback IP.() -> bool"], |_, args| test(args, |address| address.is_loopback())),
    ("isLinkLocalMulticast", &["ip_is_link_local_multicast IP.() -> bool"], |_, args| {
        test(args, is_link_local_multicast)
    }),
    ("isLinkLocalUnicast", &["ip_is_link_local_unicast IP.() -> bool"], |_, args| {
        test(args, is_link_local_unicast)
    }),
    ("isGlobalUnicast", &["ip_is_global_unicast IP.() -> bool"], |_, args| test(args, is_global_unicast)),
    ("isIP", &["is_ip (string) -> bool"], |_, args| match args {
        [Value::String(text)] => Ok(Value::Bool(address(text).is_ok())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("string", &["ip_to_string (IP) -> string", "cidr_to_string (CIDR) -> string"], |_, args| match args {
        [Value::Ip(address)] => Ok(Value::text(address.to_string())),
        [Value::Cidr(cidr)] => Ok(Value::text(cidr.to_string())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("cidr", &["string_to_cidr (string) -> CIDR"], |_, args| match args {
        [Value::String(text)] => network(text).map(Value::Cidr),
        _ => Err(EvalError::no_such_overload()),
    }),
    (
        "containsIP",
        &["cidr_contains_ip_string CIDR.(string) -> bool", "cidr_contains_ip_ip CIDR.(IP) -> bool"],
        contains_ip,
    ),
    (
        "containsCIDR",
        &["cidr_contains_cidr_string CIDR.(string) -> bool", "cidr_contains_cidr CIDR.(CIDR) -> bool"],
        contains_cidr,
    ),
    ("prefixLength", &["cidr_prefix_length CIDR.() -> int"], |_, args| match args {
        [Value::Cidr(cidr)] => Ok(Value::Int(cidr.prefix_len().into())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("masked", &["cidr_masked CIDR.() -> CIDR"], |_, args| match args {
        [Value::Cidr(cidr)] => Ok(Value::Cidr(cidr.trunc())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("isCIDR", &["is_cidr (string) -> bool"], |_, args| match args {
        [Value::String(text)] => Ok(Value::Bool(network(text).is_ok())),
        _ => Err(EvalError::no_such_overload()),
    }),
];

fn test<'a>(args: &[Value<'a>], holds: impl FnOnce(&IpAddr) -> bool) -> Outcome<'a> {
    match args {
        [Value::Ip(address)] => Ok(Value::Bool(holds(address))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_global_unicast(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !broadcast
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !is_link_local_unicast(address)
}

/// Why text is no address, in the words of Go's `netip`.
fn parse_problem(text: &str) -> String {
    let problem = match text.find(['.', ':', '%']).map(|at| &text[at..=at]) {
        Some(".") => ipv4_problem(text),
        Some(":") => "unexpected character".to_owned(),
        Some(_) => "missing IPv6 address".to_owned(),
        None => return format!("ParseAddr({text:?}): unable to parse IP"),
    };
    format!("ParseAddr({text:?}): {problem}")
}

fn ipv4_problem(text: &str) -> String {
    let mut fields = 0;
    for (i, field) in text.split('.').enumerate() {
        if let Some(at) = field.find(|c: char| !c.is_ascii_digit()) {
            return format!("unexpected character (at {:?})", &text[text.len() - remaining(text, i) + at..]);
        }
        if field.is_empty() {
            return format!(
                "IPv4 field must have at least one digit (at {:?})",
                &text[text.len() - remaining(text, i)..]
            );
        }
        if field.len() > 1 && field.starts_with('0') {
            return "IPv4 field has octet with leading zero".to_owned();
        }
        if field.parse::<u8>().is_err() {
            return "IPv4 field has value >255".to_owned();
        }
        fields += 1;
    }
    if fields < 4 { "IPv4 address too short" } else { "IPv4 address too long" }.to_owned()
}

/// Bytes from the start of the field of this index.
fn remaining(text: &str, field: usize) -> usize {
    text.splitn(field + 1, '.').last().map_or(0, str::len)
}

fn address(text: &str) -> Result<IpAddr, EvalError> {
    if let Some((before, zone)) = text.split_once('%')
        && !zone.is_empty()
        && before.parse::<Ipv6Addr>().is_ok()
    {
        return Err(EvalError::new(format!("IP address {text:?} with zone value is not allowed")));
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Err(EvalError::new(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(EvalError::new(format!(
            "IP Address {text:?} parse error during conversion from string: {}",
            parse_problem(text)
        ))),
    }
}

fn network(text: &str) -> Result<IpNet, EvalError> {
    let fail = |problem: String| {
        EvalError::new(format!("network address parse error during conversion from string: {problem}"))
    };
    let wrong = |problem: String| {
        fail(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): {problem}"
        ))
    };
    let (before, length) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'".to_owned()))?;
    let address: IpAddr = before.parse().map_err(|_| wrong(parse_problem(before)))?;
    let digits = !length.is_empty() && length.len() <= 3 && length.bytes().all(|c| c.is_ascii_digit());
    let zero = length.len() > 1 && length.starts_with('0');
    let prefix = length.parse::<u8>().ok().filter(|_| digits && !zero);
    let prefix = prefix.ok_or_else(|| wrong(format!("bad bits after slash: {length:?}")))?;
    let range = IpNet::new(address, prefix).map_err(|_| wrong("prefix length out of range".to_owned()))?;
    match address {
        IpAddr::V6(mapped) if mapped.to_ipv4_mapped().is_some() => {
            Err(fail(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        _ => Ok(range),
    }
}

fn contains_ip<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Cidr(cidr), Value::Ip(address)] => Ok(Value::Bool(cidr.contains(address))),
        // What is no address is taken for no string, either.
        [Value::Cidr(cidr), Value::String(text)] => {
            let address = address(text).map_err(|_| EvalError::no_such_overload())?;
            Ok(Value::Bool(cidr.contains(&address)))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn contains_cidr<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let (cidr, other) = match args {
        [Value::Cidr(cidr), Value::Cidr(other)] => (cidr, *other),
        [Value::Cidr(cidr), Value::String(text)] => (cidr, network(text)?),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Bool(cidr.contains(&other)))
}
