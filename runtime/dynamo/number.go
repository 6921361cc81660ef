package dynamo

import (
	"math/big"
	"strings"
)

// DynamoDB's numbers: 38 significant digits, magnitudes from 1E-130 to 9.99...E+125.
const (
	maxDigits   = 38
	maxExponent = 125
	minExponent = -130
)

// decimal is coefficient * 10^exponent. The coefficient has no trailing zeros, so that equal numbers are equal values;
// zero is 0 * 10^0.
type decimal struct {
	coefficient *big.Int
	exponent    int
}

// parseDecimal reads a number as it is written in requests. The error is the one that AWS answers.
func parseDecimal(text string) (decimal, error) {
	refuse := func() (decimal, error) {
		if strings.TrimSpace(text) == "" {
			return decimal{}, invalid("The parameter cannot be converted to a numeric value")
		}
		return decimal{}, invalid("The parameter cannot be converted to a numeric value: %s", text)
	}
	mantissa, exponent := text, 0
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		mantissa = text[:at]
		digits := strings.TrimPrefix(text[at+1:], "+")
		negative := strings.HasPrefix(digits, "-")
		if negative {
			digits = digits[1:]
		}
		if digits == "" || strings.HasPrefix(text[at+1:], "+-") {
			return refuse()
		}
		for _, c := range []byte(digits) {
			if c < '0' || c > '9' {
				return refuse()
			}
			if exponent < 1<<20 { // further digits change nothing: it is out of range
				exponent = exponent*10 + int(c-'0')
			}
		}
		if negative {
			exponent = -exponent
		}
	}
	negative := strings.HasPrefix(mantissa, "-")
	mantissa = strings.TrimPrefix(mantissa, "-")
	if !negative {
		mantissa = strings.TrimPrefix(mantissa, "+")
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" {
		return refuse()
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return refuse()
		}
	}
	exponent -= len(fraction)
	digits = strings.TrimLeft(digits, "0")
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	if trimmed == "" {
		return decimal{coefficient: new(big.Int)}, nil
	}
	if err := inRange(len(trimmed), exponent); err != nil {
		return decimal{}, err
	}
	coefficient, _ := new(big.Int).SetString(trimmed, 10)
	if negative {
		coefficient.Neg(coefficient)
	}
	return decimal{coefficient, exponent}, nil
}

// inRange checks a number of that many significant digits whose last has the weight 10^exponent.
func inRange(digits, exponent int) error {
	switch magnitude := digits - 1 + exponent; {
	case magnitude > maxExponent:
		return invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case magnitude < minExponent:
		return invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	case digits > maxDigits:
		return invalid("Attempting to store more than 38 significant digits in a Number")
	}
	return nil
}

// add gives d + other, or d - other.
func (d decimal) add(other decimal, minus bool) (decimal, error) {
	a, b := new(big.Int).Set(d.coefficient), new(big.Int).Set(other.coefficient)
	if minus {
		b.Neg(b)
	}
	exponent := min(d.exponent, other.exponent)
	a.Mul(a, pow10(d.exponent-exponent))
	b.Mul(b, pow10(other.exponent-exponent))
	a.Add(a, b)
	if a.Sign() == 0 {
		return decimal{coefficient: a}, nil
	}
	digits := new(big.Int).Abs(a).String()
	trimmed := strings.TrimRight(digits, "0")
	if zeros := len(digits) - len(trimmed); zeros > 0 {
		exponent += zeros
		a.Quo(a, pow10(zeros))
	}
	if err := inRange(len(trimmed), exponent); err != nil {
		return decimal{}, err
	}
	return decimal{a, exponent}, nil
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// String writes the number in full, as DynamoDB answers it.
func (d decimal) String() string {
	digits := new(big.Int).Abs(d.coefficient).String()
	switch {
	case d.exponent > 0:
		digits += strings.Repeat("0", d.exponent)
	case d.exponent < 0:
		places := -d.exponent
		if len(digits) <= places {
			digits = strings.Repeat("0", places-len(digits)+1) + digits
		}
		digits = digits[:len(digits)-places] + "." + digits[len(digits)-places:]
	}
	if d.coefficient.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// canonicalNumber gives the text by which equal numbers are equal.
func canonicalNumber(text string) (string, error) {
	if plainInteger(text) {
		return text, nil
	}
	d, err := parseDecimal(text)
	if err != nil {
		return "", err
	}
	return d.String(), nil
}

// plainInteger recognizes the common case, which needs no arithmetic.
func plainInteger(text string) bool {
	if text == "0" {
		return true
	}
	digits := strings.TrimPrefix(text, "-")
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' {
		return false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// scientific splits a canonical number: sign, its significant digits, and the power of ten of the first of them.
func scientific(canonical string) (sign int, digits string, exponent int) {
	sign = 1
	if canonical[0] == '-' {
		sign, canonical = -1, canonical[1:]
	}
	whole, fraction, _ := strings.Cut(canonical, ".")
	exponent = len(whole) - 1
	all := whole + fraction
	digits = strings.TrimLeft(all, "0")
	exponent -= len(all) - len(digits)
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return 0, "", 0
	}
	return sign, digits, exponent
}

// compareNumbers orders canonical numbers.
func compareNumbers(a, b string) int {
	signA, digitsA, exponentA := scientific(a)
	signB, digitsB, exponentB := scientific(b)
	switch {
	case signA != signB:
		return signA - signB
	case exponentA != exponentB:
		return signA * (exponentA - exponentB)
	}
	return signA * strings.Compare(digitsA, digitsB)
}

// numberSize is what a number counts against the 400 KB of an item: about a byte for two digits.
func numberSize(canonical string) int {
	sign, digits, exponent := scientific(canonical)
	if sign == 0 {
		return 1
	}
	size := (len(digits) + 1) / 2
	if exponent%2 == 0 && len(digits)%2 == 0 { // digits are paired from the decimal point
		size++
	}
	if sign < 0 {
		size++
	}
	return size + 1
}
