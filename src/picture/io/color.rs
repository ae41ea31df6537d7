//! What colors samples stand for, where a file says so by other means than an ICC profile.
//!
//! PNG can name a color space by its primaries and curve (gAMA and cHRM) or by code points (cICP). What the
//! codec carries is an ICC profile, or none for sRGB. So other primaries become a profile; another curve is
//! undone: samples are brought to the curve of sRGB, which spends the 8 bits as the eye needs them.

use std::ops::Range;

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, LocalizableString,
    MatrixCoefficients, ProfileText, ToneReprCurve, TransferCharacteristics, WHITE_POINT_D50,
};

use crate::error::{Error, Result};
use crate::picture::notes::Notes;
use crate::picture::tone::ToneCurve;

/// Where an ICC profile says of what color space the samples are.
const ICC_COLOR_SPACE: Range<usize> = 16..20;

/// gAMA of 1/2.2, which stands for the curve of sRGB, and how far from it another one may be.
const SRGB_GAMMA: u32 = 45_455;
const GAMMA_TOLERANCE: u32 = 455;

/// White, red, green and blue of sRGB as x and y in units of cHRM, and how far others may be.
const SRGB_CHROMATICITIES: [u32; 8] = [
    31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000,
];
const CHROMATICITY_TOLERANCE: u32 = 100;

/// Code points (ITU-T H.273) of sRGB's curve, of a linear one, and of those of high dynamic range.
const CURVE_SRGB: u8 = 13;
const CURVE_LINEAR: u8 = 8;
const CURVE_PQ: u8 = 16;
const CURVE_HLG: u8 = 18;
const PRIMARIES_SRGB: u8 = 1;

/// The signature of a profile's color space, such as `RGB `; `None` where the profile is too short.
pub(super) fn profile_space(icc: &[u8]) -> Option<&[u8; 4]> {
    icc.get(ICC_COLOR_SPACE)?.first_chunk()
}

/// The color chunks of a PNG file, besides iCCP.
#[derive(Debug, Default)]
pub(super) struct PngColor {
    /// gAMA: 100000 times the exponent by which light becomes samples.
    pub gamma: Option<u32>,
    /// cHRM.
    pub chromaticities: Option<[u32; 8]>,
    pub is_srgb: bool,
    /// cICP: primaries, curve, matrix, and whether the full range is used.
    pub code_points: Option<[u8; 4]>,
}

/// How colors are carried: a profile unless they are sRGB's, and the curve to undo.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Carried {
    pub profile: Option<Vec<u8>>,
    pub curve: Option<ToneCurve>,
    /// Whether this has priority over an ICC profile in the file.
    pub beats_profile: bool,
}

impl PngColor {
    /// How the colors are to be carried. Of several chunks the one with priority decides (PNG, third edition): cICP,
    /// then iCCP, then sRGB, then gAMA and cHRM.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for high dynamic range, and for code points that cannot be carried.
    pub(super) fn carried(
        &self,
        has_profile: bool,
        has_color: bool,
        notes: &mut Notes,
    ) -> Result<Carried> {
        if let Some(points) = self.code_points {
            return from_code_points(points, has_color);
        }
        if has_profile || self.is_srgb {
            return Ok(Carried::default());
        }
        let gamma = self
            .gamma
            .filter(|gamma| (5_000..=1_000_000).contains(gamma));
        let primaries = self.chromaticities.filter(is_triangle);
        if gamma != self.gamma || primaries != self.chromaticities {
            notes.damaged("the color chunks (gAMA, cHRM) make no sense and are left out");
        }
        let curve = gamma
            .filter(|gamma| gamma.abs_diff(SRGB_GAMMA) > GAMMA_TOLERANCE)
            .map(|gamma| ToneCurve {
                exponent: 1e5 / f64::from(gamma),
            });
        // Gray is the same whatever the primaries are.
        let primaries = primaries.filter(|primaries| has_color && !is_srgb(primaries));
        let is_2_2 = gamma.is_some() && curve.is_none();
        Ok(Carried {
            profile: primaries
                .map(|primaries| profile(&primaries, is_2_2))
                .transpose()?,
            curve,
            beats_profile: false,
        })
    }
}

/// Whether three primaries with a white among them make a color space.
fn is_triangle(chromaticities: &[u32; 8]) -> bool {
    let [_, white_y, ..] = *chromaticities;
    let [x, y] =
        [0, 1].map(|at| [2, 4, 6].map(|point| f64::from(chromaticities[point + at]) / 1e5));
    let area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]);
    let has_heights = y.iter().all(|&y| y > 0.0);
    white_y > 0 && has_heights && area.abs() > 1e-3 && chromaticities.iter().all(|&v| v <= 100_000)
}

fn is_srgb(chromaticities: &[u32; 8]) -> bool {
    let mut pairs = chromaticities.iter().zip(SRGB_CHROMATICITIES);
    pairs.all(|(&found, wanted)| found.abs_diff(wanted) <= CHROMATICITY_TOLERANCE)
}

/// An ICC profile of primaries, with a curve of 2.2 or that of sRGB.
fn profile(chromaticities: &[u32; 8], is_2_2: bool) -> Result<Vec<u8>> {
    let point = |at: usize| {
        let [x, y] = [at, at + 1].map(|at| chromaticities[at] as f32 / 1e5);
        Chromaticity { x, y }
    };
    let primaries = ColorPrimaries {
        red: point(2),
        green: point(4),
        blue: point(6),
    };
    let mut profile = ColorProfile::new_srgb();
    profile.update_rgb_colorimetry(point(0).to_xyyb(), primaries);
    if is_2_2 {
        let curve = Some(ToneReprCurve::Parametric(vec![2.2]));
        profile.red_trc.clone_from(&curve);
        profile.green_trc.clone_from(&curve);
        profile.blue_trc = curve;
    }
    encoded(profile, "PNG gAMA and cHRM")
}

/// How code points are carried.
fn from_code_points(points: [u8; 4], has_color: bool) -> Result<Carried> {
    let [primaries, curve, matrix, full_range] = points;
    let refuse = |what: &str| Err(Error::Unsupported(format!("a PNG of {what}")));
    let wide_range = [(CURVE_PQ, "PQ"), (CURVE_HLG, "HLG")];
    if let Some((_, name)) = wide_range.into_iter().find(|(point, _)| *point == curve) {
        let what = format!("high dynamic range, by the {name} curve: convert it to SDR first");
        return refuse(&what);
    }
    if matrix != 0 || full_range != 1 {
        return refuse("YCbCr or of narrow range");
    }
    // Gray is the same whatever the primaries are.
    let is_srgb = curve == CURVE_SRGB && (primaries == PRIMARIES_SRGB || !has_color);
    let mut carried = Carried {
        beats_profile: true,
        ..Carried::default()
    };
    if is_srgb {
        return Ok(carried);
    }
    let mut curve = curve;
    if curve == CURVE_LINEAR {
        carried.curve = Some(ToneCurve::linear());
        curve = CURVE_SRGB;
    }
    let named = (
        CicpColorPrimaries::try_from(primaries),
        TransferCharacteristics::try_from(curve),
    );
    let mut profile = ColorProfile::new_srgb();
    profile.red_trc = None;
    if let (Ok(color_primaries), Ok(transfer_characteristics)) = named {
        // What it returns does not say whether it knew the code points; the curve does.
        let _ = profile.update_rgb_colorimetry_from_cicp(CicpProfile {
            color_primaries,
            transfer_characteristics,
            matrix_coefficients: MatrixCoefficients::Identity,
            full_range: true,
        });
    }
    if profile.red_trc.is_none() {
        return refuse(&format!(
            "color space {primaries}/{curve}, which is not known"
        ));
    }
    carried.profile = Some(encoded(profile, &format!("CICP {primaries}/{curve}"))?);
    Ok(carried)
}

/// Where a profile has the date and time of its creation (ICC.1:2022, section 7.2).
const DATE: Range<usize> = 24..36;
/// Year, month, day, hours, minutes and seconds.
const FIXED_DATE: [u16; 6] = [2000, 1, 1, 0, 0, 0];

/// The bytes of a profile, the same at any time.
fn encoded(mut profile: ColorProfile, name: &str) -> Result<Vec<u8>> {
    // The primaries are stated for D50 already.
    profile.chromatic_adaptation = None;
    profile.media_white_point = Some(WHITE_POINT_D50.to_xyzd());
    profile.description = Some(ProfileText::Localizable(vec![LocalizableString::new(
        "en".into(),
        "US".into(),
        name.into(),
    )]));
    let mut bytes = profile
        .encode()
        .map_err(|error| Error::Image(format!("cannot make an ICC profile: {error}")))?;
    // What the profile says of it is not written, but the present time.
    if let Some(date) = bytes.get_mut(DATE) {
        date.copy_from_slice(&FIXED_DATE.map(u16::to_be_bytes).concat());
    }
    Ok(bytes)
}
