//! What is wrong with a damaged file, part by part.

use std::collections::BTreeMap;
use std::fmt;

use super::area::Area;
use super::region::Region;
use crate::bitstream::{DamagedPart, Header};
use crate::error::Error;

/// Something of a file that is damaged.
#[derive(Debug)]
#[non_exhaustive]
pub enum Damage {
    /// The colors of a tile: they are missing from the picture.
    Tile {
        /// Where the tile is seen in the whole upright picture.
        region: Region,
        /// What is wrong.
        error: Error,
    },
    /// The alpha channel of a tile: it is opaque in the picture.
    Alpha {
        /// Where the tile is seen in the whole upright picture.
        region: Region,
        /// What is wrong.
        error: Error,
    },
    /// Metadata, the tile index, or the end of the file.
    File(Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, region, error) = match self {
            Self::Tile { region, error } => ("tile", region, error),
            Self::Alpha { region, error } => ("alpha of the tile", region, error),
            Self::File(error) => return write!(f, "{error}"),
        };
        let (x, y) = (region.x, region.y);
        let (width, height) = (region.width, region.height);
        write!(f, "{what} at {x},{y} ({width}x{height} pixels): {error}")
    }
}

/// Damage that was found so far.
#[derive(Debug)]
pub(super) struct DamageList {
    header: Header,
    found: BTreeMap<DamagedPart, Vec<Error>>,
}

impl DamageList {
    /// Damage that is known from the start.
    pub(super) fn new(header: Header, damage: Vec<(DamagedPart, Error)>) -> Self {
        let mut list = Self {
            header,
            found: BTreeMap::new(),
        };
        for (part, error) in damage {
            list.add(part, error);
        }
        list
    }

    pub(super) fn add(&mut self, part: DamagedPart, error: Error) {
        self.found.entry(part).or_default().push(error);
    }

    /// Forgets the parts that do not matter.
    pub(super) fn retain(&mut self, matters: impl Fn(DamagedPart) -> bool) {
        self.found.retain(|part, _| matters(*part));
    }

    /// The error of the first tile, if all of `tiles` are damaged; it is then no longer in the list.
    pub(super) fn first_if_all(&mut self, tiles: usize) -> Option<Error> {
        let found = self.found.iter_mut();
        let mut damaged = found.filter(|(part, _)| matches!(part, DamagedPart::Tile(_)));
        let (_, first) = damaged.next()?;
        if damaged.count() + 1 < tiles {
            return None;
        }
        first.pop()
    }

    /// The first of `tiles` that is intact, and how many are.
    pub(super) fn intact(&self, tiles: impl Iterator<Item = usize>) -> Option<(usize, usize)> {
        let mut intact = tiles.filter(|&index| !self.found.contains_key(&DamagedPart::Tile(index)));
        let first = intact.next()?;
        Some((first, 1 + intact.count()))
    }

    /// Everything, in the order of the file.
    pub(super) fn finish(self) -> Vec<Damage> {
        let header = self.header;
        let mut list = Vec::new();
        for (part, errors) in self.found {
            list.extend(errors.into_iter().map(|error| damage(&header, part, error)));
        }
        list
    }
}

fn damage(header: &Header, part: DamagedPart, error: Error) -> Damage {
    let region = |index| Region::showing(&Area::from(header.tile_grid().tile(index)), header);
    let (region, is_alpha) = match part {
        DamagedPart::Tile(index) => (region(index), false),
        DamagedPart::Alpha(index) => (region(index), true),
        DamagedPart::File => (None, false),
    };
    match region {
        Some(region) if is_alpha => Damage::Alpha { region, error },
        Some(region) => Damage::Tile { region, error },
        None => Damage::File(error),
    }
}
