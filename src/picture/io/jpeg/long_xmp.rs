//! Extended XMP (XMP specification, part 3, 1.1.3.1): what of a packet did not fit into one segment of a JPEG file,
//! put together, checked, and merged into the packet.

use md5::{Digest, Md5};

use crate::picture::io::findings::Findings;

/// The identifier before each part.
pub(super) const IDENTIFIER: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";

/// The property of the packet that names what belongs to it.
const PROPERTY: &str = "xmpNote:HasExtendedXMP";

/// Most namespaces of a packet that is merged.
const MOST_NAMESPACES: usize = 256;

/// What the messages call it.
const NAME: &str = "extended XMP";

/// A part of the extension of some packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part<'a> {
    offset: u32,
    /// Bytes of the whole.
    length: u32,
    /// MD5 of the whole in hexadecimal digits.
    digest: [u8; 32],
    data: &'a [u8],
}

/// The parts that a file holds.
#[derive(Default)]
pub(super) struct LongXmp<'a> {
    parts: Vec<Part<'a>>,
    is_damaged: bool,
}

impl<'a> LongXmp<'a> {
    /// Takes the content of a segment, less its identifier.
    pub(super) fn add(&mut self, content: &'a [u8]) {
        match read_part(content) {
            Some(part) => self.parts.push(part),
            None => self.is_damaged = true,
        }
    }

    /// Merges the extension into its packet, if it is whole and the packet has room within the limits.
    pub(super) fn merge_into(self, found: &mut Findings) {
        if self.parts.is_empty() && !self.is_damaged {
            return;
        }
        let packet = found
            .xmp
            .as_deref()
            .and_then(|p| std::str::from_utf8(p).ok());
        let Some((packet, digest)) = packet.and_then(|p| Some((p, digest_in(p)?))) else {
            return found.notes.not_kept(NAME);
        };
        let Some(extension) = self.whole(&digest) else {
            let what = "the extended XMP is damaged and left out";
            return found.notes.damaged(what);
        };
        let has_room = |merged: &String| merged.len() as u64 <= found.limits.max_metadata_bytes;
        match merged(packet, &extension).filter(has_room) {
            Some(merged) => found.xmp = Some(merged.into_bytes()),
            None => found.notes.not_kept(NAME),
        }
    }

    /// The extension of this digest, if all of it is there.
    fn whole(mut self, digest: &[u8; 32]) -> Option<String> {
        self.parts
            .retain(|part| part.digest.eq_ignore_ascii_case(digest));
        self.parts.sort_unstable();
        self.parts.dedup();
        let mut whole = Vec::new();
        for part in &self.parts {
            let is_next = part.offset as usize == whole.len();
            if !is_next || part.length != self.parts[0].length {
                return None;
            }
            whole.extend(part.data);
        }
        let found = format!("{:X}", Md5::digest(&whole));
        let is_whole = whole.len() == self.parts.first()?.length as usize;
        let is_intact = is_whole && found.as_bytes().eq_ignore_ascii_case(digest);
        String::from_utf8(whole).ok().filter(|_| is_intact)
    }
}

fn read_part(content: &[u8]) -> Option<Part<'_>> {
    let (digest, rest) = content.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (offset, data) = rest.split_first_chunk()?;
    Some(Part {
        offset: u32::from_be_bytes(*offset),
        length: u32::from_be_bytes(*length),
        digest: *digest,
        data,
    })
}

/// The digest of the extension that a packet names, as an attribute or as an element.
fn digest_in(packet: &str) -> Option<[u8; 32]> {
    let (_, rest) = packet.split_once(PROPERTY)?;
    let digest = rest.trim_start_matches(|c: char| c.is_whitespace() || "=\"'>".contains(c));
    digest.as_bytes().first_chunk().copied()
}

/// The packet with the descriptions of its extension behind its own, and without the property that names it.
///
/// `None` for packets that are written in another way than the toolkits' and cannot be merged as text.
fn merged(packet: &str, extension: &str) -> Option<String> {
    let (added, own) = (Rdf::find(extension)?, Rdf::find(packet)?);
    let mut declarations = String::new();
    if added.namespaces.len().max(own.namespaces.len()) > MOST_NAMESPACES {
        return None;
    }
    for (prefix, address) in added.namespaces {
        match own.namespaces.iter().find(|(own, _)| *own == prefix) {
            Some((_, own)) if *own == address => {}
            // A prefix that means two things.
            Some(_) => return None,
            None => {
                let quote = if address.contains('"') { '\'' } else { '"' };
                declarations += &format!(" xmlns:{prefix}={quote}{address}{quote}");
            }
        }
    }
    let (before, after) = (&packet[..own.name_end], &packet[own.content_end..]);
    let content = without_property(&packet[own.name_end..own.content_end])?;
    Some([before, &declarations, &content, added.content, after].concat())
}

/// The content of a packet without the property that names an extension.
fn without_property(content: &str) -> Option<String> {
    let (before, rest) = content.split_once(PROPERTY)?;
    let (before, after) = match before.strip_suffix('<') {
        Some(before) => (before, rest.split_once(&format!("</{PROPERTY}>"))?.1),
        None => {
            let quote = rest.find(['"', '\''])?;
            let value = &rest[quote + 1..];
            let end = value.find(char::from(rest.as_bytes()[quote]))?;
            (before.trim_end(), &value[end + 1..])
        }
    };
    Some([before, after].concat())
}

/// The parts of a packet's `rdf:RDF` element.
struct Rdf<'a> {
    /// Namespaces declared by it and by what it stands in: prefixes and addresses.
    namespaces: Vec<(&'a str, &'a str)>,
    /// What stands between its tags.
    content: &'a str,
    /// Where its name ends.
    name_end: usize,
    /// Where its content ends.
    content_end: usize,
}

impl<'a> Rdf<'a> {
    fn find(packet: &'a str) -> Option<Self> {
        const START: &str = "<rdf:RDF";
        let name_end = packet.find(START)? + START.len();
        let start = name_end + packet[name_end..].find('>')? + 1;
        let content_end = packet.rfind("</rdf:RDF")?;
        Some(Self {
            namespaces: namespaces(&packet[..start]),
            content: packet.get(start..content_end)?,
            name_end,
            content_end,
        })
    }
}

/// The namespaces that tags declare.
fn namespaces(tags: &str) -> Vec<(&str, &str)> {
    let namespace = |declaration| -> Option<_> {
        let (prefix, rest) = str::split_once(declaration, '=')?;
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| "\"'".contains(*c))?;
        let (address, _) = rest[1..].split_once(quote)?;
        Some((prefix.trim_end(), address))
    };
    tags.split("xmlns:").skip(1).filter_map(namespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const EXTENSION: &str = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"r\" xmlns:a=\"1\">\
        <rdf:Description a:b=\"c\"/></rdf:RDF></x:xmpmeta>";

    fn packet(property: &str) -> String {
        format!(
            "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n<rdf:RDF xmlns:rdf=\"r\"><rdf:Description{property}</rdf:RDF></x:xmpmeta>"
        )
    }

    fn digest(text: &str) -> String {
        Md5::digest(text)
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect()
    }

    /// The content of a segment.
    fn part(range: std::ops::Range<usize>) -> Vec<u8> {
        let numbers = [EXTENSION.len(), range.start].map(|n| (n as u32).to_be_bytes());
        let data = &EXTENSION.as_bytes()[range];
        [digest(EXTENSION).as_bytes(), &numbers.concat(), data].concat()
    }

    /// The packet after merging, and the warnings.
    fn merge(packet: &str, parts: &[Vec<u8>]) -> (String, Vec<String>) {
        let limits = Limits {
            max_metadata_bytes: 1000,
            ..Limits::default()
        };
        let (mut long, mut found) = (LongXmp::default(), Findings::new(&limits));
        parts.iter().for_each(|part| long.add(part));
        found.xmp = Some(packet.as_bytes().to_vec());
        long.merge_into(&mut found);
        let (metadata, warnings) = found.finish(true);
        let warnings = warnings.iter().map(ToString::to_string).collect();
        (String::from_utf8(metadata.xmp.unwrap()).unwrap(), warnings)
    }

    #[test]
    fn an_extension_is_merged_in_whatever_order_it_comes() {
        let end = EXTENSION.len();
        let guid = digest(EXTENSION);
        let expected = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n<rdf:RDF xmlns:a=\"1\" xmlns:rdf=\"r\"><rdf:Description q=\"1\"\
            /><rdf:Description a:b=\"c\"/></rdf:RDF></x:xmpmeta>";
        let attribute = packet(&format!(" {PROPERTY}=\"{guid}\" q=\"1\"/>"));
        for parts in [
            &[part(0..end)][..],
            &[part(50..end), part(0..50), part(0..50)],
        ] {
            assert_eq!(merge(&attribute, parts), (expected.into(), vec![]));
        }
        let element = packet(&format!(
            "><{PROPERTY}>{guid}</{PROPERTY}></rdf:Description>"
        ));
        let (merged, warnings) = merge(&element, &[part(0..end)]);
        assert!(warnings.is_empty() && merged.contains("a:b") && !merged.contains(&guid));
    }

    #[test]
    fn what_is_not_whole_or_not_named_is_left_out() {
        let end = EXTENSION.len();
        let named = packet(&format!(" {PROPERTY}='{}'/>", digest(EXTENSION)));
        let mut other = part(0..end);
        other[45] ^= 1;
        for parts in [
            &[part(0..50)][..],
            &[part(50..end)],
            &[part(0..50), part(49..end)],
            &[other],
            &[vec![1, 2]],
        ] {
            let (packet, warnings) = merge(&named, parts);
            assert_eq!(packet, named);
            assert_eq!(warnings, ["the extended XMP is damaged and left out"]);
        }
        let long = packet(&format!(
            " {PROPERTY}='{}' q='{}'/>",
            digest(EXTENSION),
            "x".repeat(900)
        ));
        for packet in [
            packet("/>"),
            packet(&format!(
                " xmlns:a='2' {PROPERTY}='{}'/>",
                digest(EXTENSION)
            ))
            .replace("<rdf:RDF", "<rdf:RDF xmlns:a=\"2\""),
            named.replace("rdf:", "r:"),
            long,
        ] {
            let (found, warnings) = merge(&packet, &[part(0..end)]);
            assert_eq!(
                (found, &warnings[..]),
                (packet, &["not kept: extended XMP".to_string()][..])
            );
        }
    }
}
