//! What a decoder has of a file: all of its parts, or those that are intact.

use super::damage::{DamageList, DamagedPart};
use crate::bitstream::{self, AlphaPayload, Container, Header, Salvage, TilePayload};
use crate::picture::Metadata;

/// The parts of a file; none for those that are damaged.
pub(super) struct Source<'a> {
    pub(super) header: Header,
    metadata: bitstream::Metadata<'a>,
    pub(super) tiles: Vec<Option<TilePayload<'a>>>,
    /// Empty without an alpha channel.
    pub(super) alpha: Vec<Option<AlphaPayload<'a>>>,
}

impl<'a> Source<'a> {
    /// All parts of an intact file.
    pub(super) fn intact(container: Container<'a>) -> Self {
        Self {
            header: container.header,
            metadata: container.metadata,
            tiles: container.tiles.into_iter().map(Some).collect(),
            alpha: container.alpha.into_iter().map(Some).collect(),
        }
    }

    /// The parts that are left, and what is wrong with the others.
    pub(super) fn damaged(salvage: Salvage<'a>) -> (Self, DamageList) {
        let mut list = DamageList::new(salvage.header);
        salvage
            .damage
            .into_iter()
            .for_each(|error| list.add(DamagedPart::File, error));
        let source = Self {
            header: salvage.header,
            metadata: salvage.metadata,
            tiles: list.take(salvage.tiles, DamagedPart::Tile),
            alpha: list.take(salvage.alpha, DamagedPart::Alpha),
        };
        (source, list)
    }

    /// The metadata and the header's orientation.
    pub(super) fn metadata(&self) -> Metadata {
        Metadata::of_file(&self.metadata, self.header.orientation)
    }
}
