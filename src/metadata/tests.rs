//! Orientation in Exif and XMP, and what stripping leaves.

use super::*;

/// A minimal Exif block: one IFD with the orientation as its only entry.
pub fn exif_with_orientation(big_endian: bool, orientation: u8) -> Vec<u8> {
    let (order, count): (&[u8], &[u8]) = if big_endian {
        (b"MM\0\x2a\0\0\0\x08", &[0, 0, 0, 1])
    } else {
        (b"II\x2a\0\x08\0\0\0", &[1, 0, 0, 0])
    };
    let word = |value: u16| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let [entries, tag, short] = [word(1), word(0x112), word(3)];
    let value = word(u16::from(orientation));
    [
        order, &entries, &tag, &short, count, &value, &[0; 2], &[0; 4],
    ]
    .concat()
}

fn with_exif(exif: Vec<u8>) -> Metadata {
    let mut metadata = Metadata {
        exif: Some(exif),
        ..Metadata::default()
    };
    metadata.read_orientation();
    metadata
}

#[test]
fn orientation_is_read_and_reset() {
    for big_endian in [false, true] {
        for orientation in 1..=8 {
            let mut metadata = with_exif(exif_with_orientation(big_endian, orientation));
            assert_eq!(metadata.orientation.to_exif(), orientation);
            metadata.resolution = Resolution::per_meter(2, 3);
            metadata.reset_orientation();
            assert_eq!(metadata.orientation, Orientation::NoTransforms);
            let (x, y) = if orientation < 5 { (2, 3) } else { (3, 2) };
            assert_eq!(metadata.resolution, Resolution::per_meter(x, y));
            let expected = exif_with_orientation(big_endian, 1);
            assert_eq!(metadata.exif, Some(expected));
        }
    }
}

#[test]
fn invalid_orientation_counts_as_upright() {
    for block in [
        exif_with_orientation(true, 0),
        exif_with_orientation(true, 9),
        vec![1, 2],
    ] {
        assert_eq!(with_exif(block).orientation, Orientation::NoTransforms);
    }
}

#[test]
fn xmp_orientation_counts_where_exif_has_none() {
    let cases = [
        ("<a tiff:Orientation=\"6\"/>", 6),
        ("<a tiff:Orientation = '8'/>", 8),
        ("<tiff:Orientation> 3 </tiff:Orientation>", 3),
        ("<tiff:Orientation/><a tiff:Orientation='5'/>", 5),
        ("<a tiff:Orientation='0'/>", 1),
        ("<a tiff:Orientation='66'/>", 1),
        ("<a tiff:OrientationOf6='9'/>", 1),
        ("tiff:Orientation", 1),
    ];
    for (packet, orientation) in cases {
        let mut metadata = Metadata {
            xmp: Some(packet.into()),
            ..Metadata::default()
        };
        metadata.read_orientation();
        assert_eq!(metadata.orientation.to_exif(), orientation, "{packet}");
        metadata.exif = Some(exif_with_orientation(true, 2));
        metadata.read_orientation();
        assert_eq!(
            metadata.orientation,
            Orientation::FlipHorizontal,
            "{packet}"
        );
    }
}

#[test]
fn xmp_orientation_is_reset_in_every_spelling() {
    let packet = "<a tiff:Orientation=\"6\" tiff:Orientation = '8'/>\
        <tiff:Orientation>3</tiff:Orientation><tiff:Orientation>";
    let mut metadata = Metadata {
        xmp: Some(packet.into()),
        ..Metadata::default()
    };
    metadata.reset_orientation();
    let expected = packet.replace(['6', '8', '3'], "1");
    assert_eq!(metadata.xmp, Some(expected.into()));
}

#[test]
fn strip_keeps_what_decides_the_look() {
    let mut metadata = Metadata {
        icc: Some(vec![1]),
        exif: Some(vec![2]),
        xmp: Some(vec![3]),
        resolution: Resolution::per_inch(300, 300),
        orientation: Orientation::Rotate90,
    };
    metadata.strip();
    assert_eq!(metadata.icc, Some(vec![1]));
    assert_eq!((metadata.exif, metadata.xmp), (None, None));
    assert_eq!(metadata.orientation, Orientation::Rotate90);
    assert!(metadata.resolution.is_some());
}
