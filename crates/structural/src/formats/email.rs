//! Addresses of mail, with or without a name before them (RFC 5322, as Go's `net/mail` reads it).

use std::net::IpAddr;

/// Whether a text is exactly one address.
pub(super) fn is_address(text: &str) -> bool {
    let mut reader = Reader { rest: text };
    let one = reader.address(true).is_some_and(|count| count == 1);
    one && reader.skip_comments().is_some() && reader.rest.is_empty()
}

struct Reader<'t> {
    rest: &'t str,
}

/// A letter of an atom; a dot is one where dots are allowed.
fn is_atom(letter: char) -> bool {
    !"()<>[]:;@\\,\"".contains(letter) && is_visible(letter)
}

fn is_visible(letter: char) -> bool {
    ('!'..='~').contains(&letter) || !letter.is_ascii()
}

impl<'t> Reader<'t> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn consume(&mut self, letter: char) -> bool {
        let after = self.rest.strip_prefix(letter);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Skips spaces and comments; none if a comment does not end.
    fn skip_comments(&mut self) -> Option<()> {
        self.skip_space();
        while self.consume('(') {
            self.comment()?;
            self.skip_space();
        }
        Some(())
    }

    /// The rest of a comment whose parenthesis was read.
    fn comment(&mut self) -> Option<()> {
        let mut depth = 1;
        let mut letters = self.rest.chars();
        while depth > 0 {
            match letters.next()? {
                '\\' => drop(letters.next()),
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
        }
        self.rest = letters.as_str();
        Some(())
    }

    /// One address, or a group of them; how many there were.
    fn address(&mut self, may_be_group: bool) -> Option<usize> {
        self.skip_space();
        let start = self.rest;
        if self.plain().is_some() {
            self.skip_space();
            if self.consume('(') {
                self.comment()?;
            }
            return Some(1);
        }
        self.rest = start;
        if !self.rest.starts_with('<') {
            self.phrase()?;
        }
        self.skip_space();
        if may_be_group && self.consume(':') {
            return self.group();
        }
        if !self.consume('<') {
            return None;
        }
        self.plain()?;
        self.consume('>').then_some(1)
    }

    fn group(&mut self) -> Option<usize> {
        self.skip_space();
        if self.consume(';') {
            self.skip_comments()?;
            return Some(0);
        }
        let mut count = 0;
        loop {
            self.skip_space();
            count += self.address(false)?;
            self.skip_comments()?;
            if self.consume(';') {
                self.skip_comments()?;
                return Some(count);
            }
            if !self.consume(',') {
                return None;
            }
        }
    }

    /// `local@domain`
    fn plain(&mut self) -> Option<()> {
        self.skip_space();
        if self.rest.starts_with('"') {
            Some(()).filter(|()| !self.rest.starts_with("\"\""))?;
            self.quoted()?;
        } else {
            self.dotted()?;
        }
        Some(()).filter(|()| self.consume('@'))?;
        self.skip_space();
        if self.consume('[') {
            let (address, rest) = self.rest.split_once(']')?;
            address.parse::<IpAddr>().ok()?;
            self.rest = rest;
            return Some(());
        }
        self.dotted()
    }

    fn atom(&mut self) -> Option<&'t str> {
        let end = self.rest.find(|letter| !is_atom(letter)).unwrap_or(self.rest.len());
        let (atom, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(atom).filter(|atom| !atom.is_empty())
    }

    /// An atom whose dots stand between others.
    fn dotted(&mut self) -> Option<()> {
        let atom = self.atom()?;
        (!atom.starts_with('.') && !atom.ends_with('.') && !atom.contains("..")).then_some(())
    }

    fn quoted(&mut self) -> Option<()> {
        let mut letters = self.rest.strip_prefix('"')?.chars();
        loop {
            let letter = match letters.next()? {
                '"' => break,
                '\\' => letters.next()?,
                letter => letter,
            };
            Some(()).filter(|()| is_visible(letter) || letter == ' ' || letter == '\t')?;
        }
        self.rest = letters.as_str();
        Some(())
    }

    /// The words before an address in angle brackets; at least one.
    fn phrase(&mut self) -> Option<()> {
        let mut words = 0;
        loop {
            if words > 0 {
                self.skip_comments()?;
            }
            self.skip_space();
            let word = if self.rest.starts_with('"') { self.quoted() } else { self.atom().map(drop) };
            if word.is_none() {
                return (words > 0).then_some(());
            }
            words += 1;
        }
    }
}
