//! Tests of whole headers and files: golden bytes, round trips, and damage.

use crate::format::MAX_DIMENSION;
use proptest::prelude::*;

use super::*;
use crate::depth::Depth;
use crate::error::Error;
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::orientation::Orientation;
use crate::resolution::Resolution;

const MODEL: ModelId = ModelId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);

fn header(width: u32, height: u32, tile_size: u32) -> Header {
    Header {
        width,
        height,
        is_gray: false,
        alpha: None,
        orientation: Orientation::NoTransforms,
        quality: Quality::from_percent(75.0).unwrap(),
        tile_size,
        model: MODEL,
    }
}

fn header_bytes(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes
}

fn payload(stream: &[u8]) -> TilePayload<'_> {
    TilePayload {
        zero_map: None,
        checksum: 0x1122_3344,
        stream,
    }
}

/// A file of two tiles with a zero map, an ICC profile and an XMP packet.
fn small_file() -> Vec<u8> {
    let metadata = Metadata {
        icc: Some(b"profile"[..].into()),
        xmp: Some(b"<x/>"[..].into()),
        ..Metadata::default()
    };
    let second = TilePayload {
        zero_map: Some(&[0x0F, 0x01]),
        ..payload(&[])
    };
    let tiles = vec![payload(&[1, 2, 3]), second];
    Container {
        header: header(100, 64, 64),
        metadata,
        tiles,
        alpha: vec![],
    }
    .write()
    .unwrap()
}

fn parse(bytes: &[u8]) -> crate::error::Result<Container<'_>> {
    Container::parse(bytes, &Limits::default())
}

type TagAndPayload<'a> = (&'a [u8; 4], &'a [u8]);

/// The header and `sections`, each with a right checksum.
fn assemble(header: &Header, sections: &[TagAndPayload]) -> Vec<u8> {
    let mut bytes = header_bytes(header);
    for (tag, payload) in sections {
        write_section(&mut bytes, **tag, payload).unwrap();
    }
    bytes
}

const EMPTY_TILE: &[u8] = &[0, 0, 0, 0, 0];

#[test]
fn golden_header() {
    let header = Header {
        is_gray: true,
        orientation: Orientation::Rotate90,
        quality: Quality::from_percent(75.5).unwrap(),
        ..header(768, 512, 1024)
    };
    let wanted = [
        0x8a, 0x41, 0x45, 0x43, 0x0d, 0x0a, // signature
        0x01, 0x01, 0x06, // version, flags, orientation
        0x76, 0x93, // quality 37750
        0x10, // tile size 16 * 64
        0x80, 0x06, 0x80, 0x04, // width, height
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, // model
        0x2d, 0x83, 0x91, 0xf2, // CRC-32
    ];
    assert_eq!(header_bytes(&header), wanted);
    assert_eq!(Header::read(&mut Reader::new(&wanted)).unwrap(), header);
}

#[test]
fn golden_file() {
    let file = Container {
        header: header(1, 1, 64),
        metadata: Metadata::default(),
        tiles: vec![payload(&[5])],
        alpha: vec![],
    };
    let bytes = file.write().unwrap();
    let tile = b"TILE\x06\x00\x44\x33\x22\x11\x05\xb3\x9a\xd2\x1e";
    let end = b"END \x00\x10\x7d\xf1\x58";
    assert_eq!(bytes[26..], [&tile[..], end].concat());
    assert_eq!(bytes.len(), 26 + 15 + 9);
    assert_eq!(parse(&bytes).unwrap(), file);
}

#[test]
fn headers_refuse_values_out_of_range() {
    let make = |width, height, tile_size| header(width, height, tile_size).checked();
    assert!(make(MAX_DIMENSION, MAX_DIMENSION, 4096).is_ok());
    let bad = [
        (0, 1, 64),
        (1, 0, 64),
        (MAX_DIMENSION + 1, 1, 64),
        (1, u32::MAX, 64),
        (1, 1, 0),
        (1, 1, 65),
        (1, 1, 16_384),
    ];
    for (width, height, tile_size) in bad {
        let result = make(width, height, tile_size);
        assert!(
            matches!(result, Err(Error::InvalidOption(_))),
            "{width} {height} {tile_size}"
        );
    }
}

#[test]
fn headers_with_a_right_checksum_but_wrong_values_are_refused() {
    let good = header_bytes(&header(100, 50, 64));
    let changed = |offset: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[offset] = value;
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        Header::read(&mut Reader::new(&bytes))
    };
    assert!(matches!(changed(0, 0x89), Err(Error::NotAec)));
    assert!(matches!(
        changed(6, 2),
        Err(Error::UnsupportedVersion {
            found: 2,
            supported: 1
        })
    ));
    assert_eq!(changed(7, 2).unwrap().alpha, Some(Depth::Eight));
    assert_eq!(changed(7, 7).unwrap().alpha, Some(Depth::Sixteen));
    assert!(
        matches!(changed(7, 4), Err(Error::Unsupported(_))),
        "wide alpha without alpha"
    );
    assert!(
        matches!(changed(7, 8), Err(Error::Unsupported(_))),
        "reserved flag"
    );
    assert!(
        matches!(changed(7, 0x80), Err(Error::Unsupported(_))),
        "reserved flag"
    );
    assert!(
        matches!(changed(8, 0), Err(Error::Corrupt(_))),
        "orientation"
    );
    assert!(
        matches!(changed(10, 0xFF), Err(Error::Corrupt(_))),
        "quality"
    );
    assert!(
        matches!(changed(11, 0), Err(Error::Corrupt(_))),
        "tile size"
    );
    assert!(matches!(changed(12, 0), Err(Error::Corrupt(_))), "width");
    assert!(matches!(changed(13, 0), Err(Error::Corrupt(_))), "height");
}

#[test]
fn every_header_truncation_and_bit_flip_is_refused() {
    let good = header_bytes(&header(3000, 20_000, 512));
    for length in 0..good.len() {
        let result = Header::read(&mut Reader::new(&good[..length]));
        assert!(
            matches!(result, Err(Error::Truncated { .. })),
            "{length} bytes"
        );
    }
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::read(&mut Reader::new(&bytes)).is_err(), "bit {bit}");
    }
    assert!(matches!(
        Header::read(&mut Reader::new(b"\x89PNG\r\n\x1a\n")),
        Err(Error::NotAec)
    ));
    assert!(matches!(
        Header::read(&mut Reader::new(b"G")),
        Err(Error::NotAec)
    ));
}

#[test]
fn every_file_truncation_and_bit_flip_is_refused() {
    let good = small_file();
    assert!(parse(&good).is_ok());
    for length in 0..good.len() {
        assert!(
            matches!(parse(&good[..length]), Err(Error::Truncated { .. })),
            "{length} bytes"
        );
    }
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn sections_must_come_in_order() {
    let one = header(64, 64, 64);
    let two = header(128, 64, 64);
    let tile = (b"TILE", EMPTY_TILE);
    let end = (b"END ", &b""[..]);
    let index = (b"TIDX", &[5_u8, 5][..]);
    let icc = (b"iccP", &b"\0x"[..]);
    assert!(parse(&assemble(&one, &[icc, tile, end])).is_ok());
    assert!(parse(&assemble(&two, &[index, tile, tile, end])).is_ok());
    assert!(
        parse(&assemble(&one, &[(b"prvw", b"later"), icc, tile, end])).is_ok(),
        "unknown ancillary"
    );
    let unknown = assemble(&one, &[(b"XTST", b""), tile, end]);
    assert!(matches!(parse(&unknown), Err(Error::Unsupported(_))));
    let alpha = (b"ALPH", &[0; 4][..]);
    let (clear, clear2) = (
        Header {
            alpha: Some(Depth::Eight),
            ..one
        },
        Header {
            alpha: Some(Depth::Sixteen),
            ..two
        },
    );
    let index2 = (b"TIDX", &[5_u8, 4, 5, 4][..]);
    assert!(parse(&assemble(&clear, &[tile, alpha, end])).is_ok());
    assert!(parse(&assemble(&clear2, &[index2, tile, alpha, tile, alpha, end])).is_ok());
    let corrupt: [(&Header, &[TagAndPayload], &str); 19] = [
        (&one, &[tile, alpha, end], "alpha unannounced"),
        (
            &one,
            &[alpha, tile, end],
            "alpha unannounced, before the tile",
        ),
        (&clear, &[(b"prvw", b"padding"), tile, end], "no alpha"),
        (&clear, &[alpha, tile, end], "alpha before its tile"),
        (&clear, &[tile, alpha, alpha, end], "alpha twice"),
        (&clear, &[tile, (b"ALPH", &[0; 3]), end], "alpha too short"),
        (
            &clear2,
            &[index, tile, alpha, tile, alpha, end],
            "index without alpha",
        ),
        (&one, &[icc, icc, tile, end], "ICC twice"),
        (&one, &[tile, icc, end], "ICC after a tile"),
        (&one, &[tile, tile, end], "too many tiles"),
        (&one, &[icc, icc, end, end], "no tile"),
        (&one, &[(b"TIDX", &[5]), tile, end], "index of one tile"),
        (&two, &[tile, tile, end], "no index"),
        (
            &two,
            &[(b"TIDX", &[5, 6]), tile, tile, end],
            "wrong length in the index",
        ),
        (&two, &[(b"TIDX", &[5]), tile, tile, end], "index too short"),
        (
            &two,
            &[(b"TIDX", &[5, 0x85]), tile, tile, end],
            "index with an open end",
        ),
        (
            &two,
            &[(b"TIDX", &[5, 5, 5]), tile, tile, end],
            "index too long",
        ),
        (&one, &[tile, (b"END ", b"x")], "END with a payload"),
        (&one, &[tile, end, end], "bytes after END"),
    ];
    for (header, sections, what) in corrupt {
        let bytes = assemble(header, sections);
        assert!(matches!(parse(&bytes), Err(Error::Corrupt(_))), "{what}");
    }
    assert!(
        matches!(
            parse(&assemble(&one, &[icc, tile])),
            Err(Error::Truncated { .. })
        ),
        "no END"
    );
}

#[test]
fn limits_and_tile_counts_are_checked_before_the_tiles() {
    // A header that asks for 268 million pixels in 65536 tiles, and nothing behind it.
    let huge = assemble(&header(16_384, 16_384, 64), &[(b"END ", b"")]);
    assert!(matches!(
        parse(&huge),
        Err(Error::Truncated {
            what: "tiles",
            needed: 917_504,
            ..
        })
    ));
    let over = assemble(&header(16_385, 16_384, 64), &[]);
    assert!(matches!(parse(&over), Err(Error::LimitExceeded { .. })));
    let limits = Limits {
        max_metadata_bytes: 6,
        ..Limits::default()
    };
    let result = Container::parse(&small_file(), &limits).map(|_| ());
    assert!(matches!(
        result,
        Err(Error::LimitExceeded {
            found: 7,
            limit: 6,
            ..
        })
    ));
}

#[test]
fn writing_checks_the_number_of_tiles() {
    let file = Container {
        header: header(65, 64, 64),
        metadata: Metadata::default(),
        tiles: vec![payload(&[])],
        alpha: vec![],
    };
    assert!(matches!(file.write(), Err(Error::InvalidOption(_))));
    for (depth, count) in [(None, 1), (Some(Depth::Eight), 0), (Some(Depth::Eight), 2)] {
        let alpha = AlphaPayload {
            checksum: 0,
            stream: &[],
        };
        let file = Container {
            header: Header {
                alpha: depth,
                ..header(64, 64, 64)
            },
            alpha: vec![alpha; count],
            ..file.clone()
        };
        assert!(matches!(file.write(), Err(Error::InvalidOption(_))));
    }
}

#[test]
fn section_listing_gives_offsets_and_stops_at_damage() {
    let mut bytes = small_file();
    let names = |bytes: &[u8]| -> Vec<(String, usize, usize)> {
        let sections = Container::sections(bytes).unwrap().map_while(Result::ok);
        sections
            .map(|s| (s.name(), s.offset, s.payload.len()))
            .collect()
    };
    let wanted = [
        ("iccP", 26, 8),
        ("xmp ", 43, 5),
        ("TIDX", 57, 2),
        ("TILE", 68, 8),
        ("TILE", 85, 8),
        ("END ", 102, 0),
    ];
    assert_eq!(
        names(&bytes),
        wanted.map(|(name, offset, length)| (name.to_string(), offset, length))
    );
    bytes[62] ^= 1;
    assert_eq!(names(&bytes).len(), 2);
    assert_eq!(
        Container::sections(&bytes)
            .unwrap()
            .filter(Result::is_err)
            .count(),
        1
    );
}

#[test]
fn tile_payload_golden_bytes_and_damage() {
    let tile = TilePayload {
        zero_map: Some(&[0xAA, 0x01]),
        ..payload(&[9, 8])
    };
    let bytes = tile.write().unwrap();
    assert_eq!(
        bytes,
        [0x01, 0x02, 0xAA, 0x01, 0x44, 0x33, 0x22, 0x11, 9, 8]
    );
    assert_eq!(TilePayload::read(&bytes).unwrap(), tile);
    assert!(matches!(
        TilePayload::read(&[2, 0, 0, 0, 0]),
        Err(Error::Unsupported(_))
    ));
    assert!(matches!(
        TilePayload::read(&[0, 0, 0, 0]),
        Err(Error::Corrupt(_))
    ));
    assert!(matches!(
        TilePayload::read(&[1, 0, 0, 0, 0, 0]),
        Err(Error::Corrupt(_))
    ));
    assert!(matches!(
        TilePayload::read(&[1, 9, 0, 0, 0, 0]),
        Err(Error::Corrupt(_))
    ));
    let empty_map = TilePayload {
        zero_map: Some(&[]),
        ..payload(&[])
    };
    assert!(empty_map.write().is_err());
}

#[test]
fn tile_grids_cover_the_padded_picture() {
    let grid = TileGrid::new(200, 65, 128);
    assert_eq!(
        grid,
        TileGrid {
            columns: 2,
            rows: 1,
            tile_size: 128,
            width: 256,
            height: 128
        }
    );
    let rect = |x, y, width, height| TileRect {
        x,
        y,
        width,
        height,
    };
    assert_eq!(TileGrid::new(1, 1, 1024).tile(0), rect(0, 0, 64, 64));
    let grid = TileGrid::new(300, 190, 128);
    let wanted = [
        rect(0, 0, 128, 128),
        rect(128, 0, 128, 128),
        rect(256, 0, 64, 128),
        rect(0, 128, 128, 64),
        rect(128, 128, 128, 64),
        rect(256, 128, 64, 64),
    ];
    assert!(grid.tiles().eq(wanted));
}

fn any_header() -> impl Strategy<Value = Header> {
    (
        1..=MAX_DIMENSION,
        1..=MAX_DIMENSION,
        any::<bool>(),
        1..=8_u8,
        0..=50_000_u16,
        1..=64_u32,
        any::<[u8; 8]>(),
        prop_oneof![
            Just(None),
            Just(Some(Depth::Eight)),
            Just(Some(Depth::Sixteen))
        ],
    )
        .prop_map(
            |(width, height, is_gray, orientation, quality, units, model, alpha)| {
                let header = Header {
                    width,
                    height,
                    is_gray,
                    alpha,
                    orientation: Orientation::from_exif(orientation).unwrap(),
                    quality: Quality::from_raw(quality).unwrap(),
                    tile_size: units * 64,
                    model: ModelId(model),
                };
                header.checked().unwrap()
            },
        )
}

proptest! {
    #[test]
    fn headers_survive(header in any_header()) {
        let bytes = header_bytes(&header);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Header::read(&mut reader).unwrap(), header);
        prop_assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn grids_partition_the_padded_picture(width in 1..3000_u32, height in 1..3000_u32, units in 1..20_u32) {
        let grid = TileGrid::new(width, height, units * 64);
        prop_assert!(grid.width >= width && grid.width < width + 64 && grid.width.is_multiple_of(64));
        let area: u64 = grid.tiles().map(|t| u64::from(t.width) * u64::from(t.height)).sum();
        prop_assert_eq!(area, u64::from(grid.width) * u64::from(grid.height));
        prop_assert!(grid.tiles().all(|t| t.width > 0 && t.height > 0 && t.x.is_multiple_of(grid.tile_size)));
    }

    #[test]
    fn files_survive(
        icc in any::<Option<Vec<u8>>>(),
        exif in any::<Option<Vec<u8>>>(),
        map in prop::option::of(prop::collection::vec(any::<u8>(), 1..300)),
        streams in prop::collection::vec(any::<Vec<u8>>(), 1..6),
        has_alpha: bool,
    ) {
        let resolution = Some(Resolution { x: 2835, y: 1, is_per_meter: true });
        let metadata = Metadata { icc, exif, resolution, ..Metadata::default() };
        let tiles: Vec<_> =
            streams.iter().map(|s| TilePayload { zero_map: map.as_deref(), ..payload(s) }).collect();
        let header = Header { alpha: has_alpha.then_some(Depth::Eight), ..header(64 * tiles.len() as u32, 64, 64) };
        let alpha = streams.iter().filter(|_| has_alpha).map(|s| AlphaPayload { checksum: 7, stream: s });
        let file = Container { header, metadata, tiles, alpha: alpha.collect() };
        let bytes = file.write().unwrap();
        prop_assert_eq!(parse(&bytes).unwrap(), file);
    }

    #[test]
    fn any_bytes_behind_a_valid_header_never_panic(tail in any::<Vec<u8>>()) {
        let mut bytes = header_bytes(&header(64, 64, 64));
        bytes.extend(tail);
        prop_assert!(parse(&bytes).is_err());
    }
}
