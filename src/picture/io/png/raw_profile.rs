//! Blocks as text of hexadecimal digits, as ImageMagick keeps in PNG what has no chunk of its own.

/// What the keyword of such a text begins with; the kind of block follows.
pub(super) const KEYWORD_PREFIX: &str = "Raw profile type ";

/// Digits in a line.
const LINE: usize = 72;

/// The block in a text: a newline, its kind, its length and its digits, on lines of their own.
#[allow(clippy::cast_possible_truncation)] // from 0 to 15
pub(super) fn read(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_prefix(b"\n").unwrap_or(text);
    let mut parts = text.splitn(2, |&byte| byte == b'\n');
    let (_kind, rest) = (parts.next()?, parts.next()?.trim_ascii_start());
    let digits_at = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let (length, digits) = rest.split_at(digits_at);
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    let digits: Option<Vec<u8>> = digits
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|&byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let block: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    (rest.is_empty() && block.len() == length).then_some(block)
}

/// The text for a block.
pub(super) fn write(kind: &str, block: &[u8]) -> String {
    let mut text = format!("\n{kind}\n{:8}\n", block.len());
    for line in block.chunks(LINE / 2) {
        text.extend(line.iter().map(|byte| format!("{byte:02x}")));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back() {
        for length in [0, 1, 35, 36, 37, 300] {
            let block: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            assert_eq!(read(write("xmp", &block).as_bytes()), Some(block));
        }
    }

    #[test]
    fn what_is_not_a_block_is_refused() {
        for text in [
            "",
            "\nexif\n",
            "\nexif\n 2\n0g00",
            "\nexif\n 3\n0000",
            "\nexif\n 1\n000",
            "\nexif\n x\n00",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(read(b"\nexif\n       2\n4D4d\n"), Some(b"MM".to_vec()));
    }
}
