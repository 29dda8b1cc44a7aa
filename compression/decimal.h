// Numbers in canonical specs: the shortest text that reads back as the same number, without the '+'
// that joins parts.
#ifndef ISTHMUS_COMPRESSION_DECIMAL_H_
#define ISTHMUS_COMPRESSION_DECIMAL_H_

#include <cstdio>
#include <cstdlib>
#include <string>

namespace isthmus {

template <typename Number>
std::string Decimal(Number value) {
  char text[40];
  for (int digits = 6; digits <= 17; ++digits) {
    std::snprintf(text, sizeof(text), "%.*g", digits, static_cast<double>(value));
    if (static_cast<Number>(std::strtod(text, nullptr)) == value) break;
  }
  std::string out;
  for (const char* c = text; *c != '\0'; ++c)
    if (*c != '+') out.push_back(*c);
  return out;
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_DECIMAL_H_
