"""How results look in every table and figure: numbers and settings as text, the order and colours of variants."""
