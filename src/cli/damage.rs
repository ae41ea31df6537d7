//! What is said about a damaged file: each damaged part, or in one line many that have the same damage.

use super::messages::GlobalOptions;
use super::text;
use crate::codec::{Damage, Region};

/// Most parts with the same damage that are named one by one.
const MOST_NAMED: usize = 8;
/// Most lines about one file.
const MOST_LINES: usize = 100;

/// Prints what is damaged.
pub(super) fn report_damage(damage: &[Damage], global: &GlobalOptions) {
    let lines = lines(damage);
    for line in lines.iter().take(MOST_LINES) {
        global.error(&anyhow::anyhow!("{line}"));
    }
    if lines.len() > MOST_LINES {
        let more = text::thousands((lines.len() - MOST_LINES) as u64);
        global.error(&anyhow::anyhow!("and {more} more lines like these"));
    }
}

/// The damage, neighbors that have the same together.
fn lines(damage: &[Damage]) -> Vec<String> {
    let kind = |part: &Damage| match part {
        Damage::Tile { error, .. } => (0, error.to_string()),
        Damage::Alpha { error, .. } => (1, error.to_string()),
        Damage::File(error) => (2, error.to_string()),
    };
    let same = damage.chunk_by(|a, b| kind(a) == kind(b));
    same.flat_map(|parts| match parts {
        [first, ..] if parts.len() > MOST_NAMED => vec![many(first, parts.len())],
        few => few.iter().map(ToString::to_string).collect(),
    })
    .collect()
}

/// One line for `count` parts like `first`.
fn many(first: &Damage, count: usize) -> String {
    let count = text::thousands(count as u64);
    let place = |region: &Region| format!("the first at {},{}", region.x, region.y);
    match first {
        Damage::Tile { region, error } => format!("{count} tiles, {}: {error}", place(region)),
        Damage::Alpha { region, error } => {
            format!("alpha of {count} tiles, {}: {error}", place(region))
        }
        Damage::File(error) => format!("{count} times: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn many_parts_with_the_same_damage_take_one_line() {
        let tile = |x: u32, what: &str| Damage::Tile {
            region: Region {
                x,
                y: 0,
                width: 64,
                height: 64,
            },
            error: Error::Corrupt(what.into()),
        };
        let mut damage: Vec<Damage> = (0..2).map(|i| tile(64 * i, "bits")).collect();
        damage.extend((2..2000).map(|i| tile(64 * i, "behind")));
        assert_eq!(
            lines(&damage),
            [
                "tile at 0,0 (64x64 pixels): file is corrupt: bits",
                "tile at 64,0 (64x64 pixels): file is corrupt: bits",
                "1,998 tiles, the first at 128,0: file is corrupt: behind",
            ]
        );
    }
}
