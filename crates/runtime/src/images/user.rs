//! Users and groups by an image's own `/etc/passwd` and `/etc/group`. Pure.

use crate::spec::UserSpec;

/// Turns `user[:group]` (names or numbers; empty means root) into numbers. The error is the part that is unknown.
pub(super) fn resolve(text: &str, passwd: &str, group: &str) -> Result<UserSpec, String> {
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let by_name = rows(passwd).find(|row| row.first() == Some(&user));
    let number = user.parse::<u32>().ok();
    let entry = by_name.or_else(|| rows(passwd).find(|row| number.is_some() && field(row, 2) == number));
    let uid = entry.as_ref().and_then(|row| field(row, 2)).or(number).ok_or_else(|| user.to_owned())?;
    let gid = match wanted_group {
        Some(name) => find_group(name, group).ok_or_else(|| name.to_owned())?,
        None => entry.as_ref().and_then(|row| field(row, 3)).unwrap_or(0),
    };
    // With a group named explicitly, only that one counts.
    let name = entry.as_ref().and_then(|row| row.first().copied()).filter(|_| wanted_group.is_none());
    let member = |row: &Vec<&str>| {
        name.is_some_and(|name| row.get(3).is_some_and(|members| members.split(',').any(|m| m == name)))
    };
    let mut groups: Vec<u32> = rows(group).filter(member).filter_map(|row| field(&row, 2)).collect();
    groups.retain(|g| *g != gid);
    groups.dedup();
    Ok(UserSpec { uid, gid, groups })
}

fn find_group(name: &str, group: &str) -> Option<u32> {
    let by_name = rows(group).find(|row| row.first() == Some(&name)).and_then(|row| field(&row, 2));
    by_name.or_else(|| name.parse().ok())
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.trim().split(':').collect())
}

fn field(row: &[&str], n: usize) -> Option<u32> {
    row.get(n)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:web,other\ndisk:x:6:root\n";

    fn check(text: &str, expected: Result<(u32, u32, &[u32]), &str>) {
        let got = resolve(text, PASSWD, GROUP);
        let expected = expected
            .map(|(uid, gid, groups)| UserSpec { uid, gid, groups: groups.to_vec() })
            .map_err(str::to_owned);
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn names_and_numbers() {
        check("", Ok((0, 0, &[6])));
        check("web", Ok((101, 102, &[33])));
        check("101", Ok((101, 102, &[33])));
        check("web:www", Ok((101, 33, &[])));
        check("web:5", Ok((101, 5, &[])));
        check("4711", Ok((4711, 0, &[])));
        check("4711:www", Ok((4711, 33, &[])));
        check("nobody", Err("nobody"));
        check("web:nogroup", Err("nogroup"));
    }
}
