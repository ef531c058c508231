"""Numbers as people read them: three significant digits, percentages that never round up to perfection, durations."""

import math

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHARES = {"accuracy", "balanced_accuracy"}
_NAMES = {"r2": "R²", "f1": "F1", "auc": "AUC", "mse": "mean squared error", "rmse": "root mean squared error"}
_NAMES |= {"mae": "mean absolute error"}


def three(value: float) -> str:
    """Three significant digits, with thousands separators or a power of ten where that reads better.

    Examples
    --------
    >>> three(0.12345), three(44123.7), three(1.5e-7), three(100.0), three(float("nan"))
    ('0.123', '44,100', '1.5×10⁻⁷', '100', 'n/a')
    """
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{abs(value):.2e}".partition("e")
    power, sign = int(exponent), "−" if value < 0 else ""
    if -4 <= power < 7:
        rounded = float(f"{mantissa}e{power}")
        digits = f"{rounded:,.{max(2 - power, 0)}f}"
        return sign + (digits.rstrip("0").rstrip(".") if "." in digits and float(mantissa) == 1 else digits)
    short = mantissa.rstrip("0").rstrip(".")
    return f"{sign}{short}×10{str(power).translate(_SUPERSCRIPT)}"


def short(value: float) -> str:
    """As `three`, without the zeros that a mark on an axis does not need.

    Examples
    --------
    >>> short(0.30000000000000004), short(2500.0)
    ('0.3', '2,500')
    """
    digits = three(value)
    return digits.rstrip("0").rstrip(".") if "." in digits and "×" not in digits else digits


def percent(share: float) -> str:
    """A share of 1 as a percentage; 100% and 0% are kept for what is exactly so.

    Examples
    --------
    >>> percent(0.97222), percent(1.0), percent(0.99997), percent(0.0)
    ('97.2%', '100%', '99.997%', '0%')
    """
    if not math.isfinite(share) or share in (0.0, 1.0) or not 0 < share < 1:
        return f"{three(100 * share)}%" if math.isfinite(share) else three(share)
    for places in range(1, 9):
        digits = f"{100 * share:.{places}f}"
        if 0 < float(digits) < 100:
            return f"{digits}%" if share >= 0.1 else f"{three(100 * share)}%"
    return "almost 100%" if share > 0.5 else "almost 0%"


def count(number: int) -> str:
    """A whole number with thousands separators."""
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """A number of things.

    Examples
    --------
    >>> plural(1, "row"), plural(1200, "row"), plural(2, "class", "classes")
    ('1 row', '1,200 rows', '2 classes')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A time span in the unit that suits it.

    Examples
    --------
    >>> duration(0.0123), duration(4.56), duration(200), duration(7300)
    ('12.3 ms', '4.56 s', '3 min 20 s', '2 h 1 min')
    """
    if not math.isfinite(seconds):
        return "n/a"
    if seconds < 0.9995:
        return f"{three(1000 * seconds)} ms"
    if seconds < 99.95:
        return f"{three(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def metric(name: str, value: float) -> str:
    """The value of a metric: accuracies as percentages, everything else to three digits."""
    return percent(value) if name in _SHARES else three(value)


def metric_name(name: str) -> str:
    """The name of a metric in words.

    Examples
    --------
    >>> metric_name("r2"), metric_name("balanced_accuracy")
    ('R²', 'balanced accuracy')
    """
    return _NAMES.get(name, name.replace("_", " "))
