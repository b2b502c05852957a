//! The four kinds of client side by side: on top the load on the server, below it what its clients get for it.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::{
    AreaSeries, ChartBuilder, Color, DashedLineSeries, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, RGBColor,
    Rectangle, SVGBackend, TRANSPARENT, WHITE,
};
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use steadfast_tests::world::Second;

use crate::scene::{CAPACITY, LASTS, NORMAL, OUTAGE, Played, SETTING, TITLE, extra_load, peak, recovery};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

// Okabe and Ito's colours, which people tell apart whatever colours they see.
const LOAD: RGBColor = RGBColor(213, 94, 0);
const SUCCESS: RGBColor = RGBColor(0, 114, 178);
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(96, 96, 96);
const GRID: RGBColor = RGBColor(226, 226, 226);
const SHADE: RGBColor = RGBColor(232, 230, 224);

const SIZE: (u32, u32) = (1_640, 940);
/// Where the columns begin: below the title, and right of the margin.
const TOP: i32 = 108;
const MARGIN: i32 = 40;
/// What stands left of a plot: the numbers of its axis.
const NUMBERS: i32 = 62;
const FONT: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// Draws it all.
pub(crate) fn draw(path: &Path, played: &[Played]) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    write(&root, TITLE, (MARGIN, 22), 30, INK)?;
    write(&root, SETTING, (MARGIN, 64), 18, FAINT)?;

    let fullest = played.iter().map(|played| peak(&played.report)).fold(0.0, f64::max) * NORMAL;
    let width = (i32::try_from(SIZE.0)? - MARGIN) / i32::try_from(played.len())?;
    for (played, column) in played.iter().zip(0..) {
        let area = root.clone().shrink((MARGIN + column * width, TOP), (width - 14, 770));
        client(&area, played, fullest * 1.05)?;
    }
    legend(&root)?;
    root.present()?;
    Ok(())
}

/// One column: who it is, the load it makes, and what it gets for it.
fn client(area: &Area<'_>, played: &Played, highest: f64) -> Drawn {
    let Played { name, does, report } = played;
    write(area, name, (0, 10), 24, INK)?;
    write(area, does, (0, 42), 15, FAINT)?;

    let load = Panel {
        top: 84,
        height: 270,
        title: "Requests that arrive at the server, per second",
        colour: LOAD,
        highest,
        lines: &[(NORMAL, 2), (CAPACITY, 7)],
    };
    let says = [
        format!("{} requests during the outage,", extra_load(report)),
        format!("at worst {:.1} times the normal load", peak(report)),
    ];
    load.draw(area, &says, |second| f64::from(second.attempts), &report.seconds)?;

    let success = Panel {
        top: 458,
        height: 220,
        title: "Calls that succeed, per second",
        colour: SUCCESS,
        highest: CAPACITY * 1.12,
        lines: &[(NORMAL, 2)],
    };
    let says = match recovery(report) {
        Some(time) => ["All is well again".to_owned(), format!("{time} after the server came back")],
        None => [
            "Still down two minutes later: the server".to_owned(),
            "is back, and retries keep it busy in vain".to_owned(),
        ],
    };
    success.draw(area, &says, |second| f64::from(second.good), &report.seconds)
}

/// One plot and the words above it.
struct Panel<'a> {
    top: i32,
    height: i32,
    title: &'a str,
    colour: RGBColor,
    /// Where the axis ends.
    highest: f64,
    /// Levels to compare with, and how long their dashes are.
    lines: &'a [(f64, i32)],
}

impl Panel<'_> {
    fn draw(&self, area: &Area<'_>, says: &[String; 2], value: impl Fn(&Second) -> f64, seconds: &[Second]) -> Drawn {
        let Self { top, height, title, colour, highest, lines } = *self;
        write(area, title, (0, top), 15, FAINT)?;
        for (line, y) in says.iter().zip([top + 22, top + 44]) {
            write_bold(area, line, (0, y), 17, colour)?;
        }

        let (width, _) = area.dim_in_pixel();
        let plot = area.clone().shrink((0, top + 72), (i32::try_from(width)?, height));
        let last = minutes(LASTS as f64);
        let mut chart = ChartBuilder::on(&plot)
            .y_label_area_size(NUMBERS)
            .x_label_area_size(44)
            .margin_right(8)
            .margin_top(6)
            .build_cartesian_2d(0.0..last, 0.0..highest)?;

        let outage = [(minutes(OUTAGE.start as f64), 0.0), (minutes(OUTAGE.end as f64), highest)];
        chart.draw_series([Rectangle::new(outage, SHADE.filled())])?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .x_labels(5)
            .y_labels(6)
            .x_label_formatter(&|minute| format!("{minute:.0}"))
            .y_label_formatter(&|level| with_commas(*level))
            .x_desc("minutes since the start")
            .label_style((FONT, 14).into_font().color(&FAINT))
            .axis_desc_style((FONT, 14).into_font().color(&FAINT))
            .draw()?;

        let points = seconds.iter().zip(0_u32..);
        let values: Vec<_> = points.map(|(second, at)| (minutes(f64::from(at) + 0.5), value(second))).collect();
        chart.draw_series(AreaSeries::new(values.iter().copied(), 0.0, colour.mix(0.25)))?;
        for &(level, dash) in lines {
            let across = [(0.0, level), (last, level)];
            chart.draw_series(DashedLineSeries::new(across, dash, 4, INK.stroke_width(1)))?;
        }
        chart.draw_series(LineSeries::new(values, colour.stroke_width(2)))?;

        let shade = chart.backend_coord(&(minutes((OUTAGE.start + OUTAGE.end) as f64 / 2.0), highest));
        let style = (FONT, 14).into_font().color(&FAINT).pos(Pos::new(HPos::Center, VPos::Top));
        let origin = plot.get_base_pixel();
        plot.draw_text("outage", &style, (shade.0 - origin.0, shade.1 - origin.1 + 6))?;
        Ok(())
    }
}

/// What the shade and the lines mean, once for all columns.
fn legend(root: &Area<'_>) -> Drawn {
    let y = i32::try_from(SIZE.1)? - 44;
    let mut x = MARGIN;
    let shade = Rectangle::new([(x, y - 11), (x + 34, y + 7)], SHADE.filled());
    root.draw(&shade)?;
    write(root, "the server does not answer", (x + 44, y - 8), 16, INK)?;
    x += 340;
    for (dash, means) in [(2, "normal load: 1,000 requests per second"), (7, "what the server can serve: 1,500")] {
        let across = [(x, y - 2), (x + 34, y - 2)];
        root.draw(&DashedPathElement::new(across, dash, 4, INK.stroke_width(2)))?;
        write(root, means, (x + 44, y - 8), 16, INK)?;
        x += 450;
    }
    Ok(())
}

fn minutes(seconds: f64) -> f64 {
    seconds / 60.0
}

/// 12345 as 12,345.
fn with_commas(level: f64) -> String {
    let digits = format!("{level:.0}");
    let mut text = String::new();
    for (digit, left) in digits.chars().zip((0..digits.len()).rev()) {
        text.push(digit);
        if left > 0 && left % 3 == 0 {
            text.push(',');
        }
    }
    text
}

/// Text whose upper left corner is at `at`.
fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: u32, colour: RGBColor) -> Drawn {
    let style = (FONT, size).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Top));
    Ok(area.draw_text(text, &style, at)?)
}

fn write_bold(area: &Area<'_>, text: &str, at: (i32, i32), size: u32, colour: RGBColor) -> Drawn {
    let style = (FONT, size, FontStyle::Bold).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Top));
    Ok(area.draw_text(text, &style, at)?)
}
