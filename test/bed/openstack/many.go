package openstack

import (
	"context"
	"fmt"
	"strings"
)

// Many are ports of many instances, each with its primary port in one network and the others in another one. They are put into Neutron's database: by its
// API 2,000 ports take two minutes.
type Many struct {
	Prefix  string // eight hexadecimal digits, which ids begin with; other ones for other ports
	Project string
	// From and To are the instances, Each the ports of one, its primary one among them.
	From, To, Each int
	// Networks and subnets by their ids. An instance's address is Management plus its number, a port's is Data plus its own.
	ManagementNetwork, ManagementSubnet, Management string
	DataNetwork, DataSubnet, Data                   string
}

// Instance is the id of an instance.
func (m Many) Instance(n int) string { return fmt.Sprintf("%s-0000-4000-8000-%012x", m.Prefix, n) }

// Put puts the ports into Neutron.
func (c *Cloud) Put(ctx context.Context, m Many) error {
	sql := strings.NewReplacer("$PREFIX", m.Prefix, "$PROJECT", m.Project, "$EACH", fmt.Sprint(m.Each), "$FIRST", fmt.Sprint(m.From*m.Each), "$LAST", fmt.Sprint(m.To*m.Each-1),
		"$MGMTNET", m.ManagementNetwork, "$MGMTSUB", m.ManagementSubnet, "$MGMT", m.Management, "$DATANET", m.DataNetwork, "$DATASUB", m.DataSubnet, "$DATA", m.Data,
	).Replace(`
CREATE TEMPORARY TABLE made AS SELECT seq AS n, seq MOD $EACH = 0 AS first, seq DIV $EACH AS i,
  LOWER(CONCAT('$PREFIX-0001-4000-8000-', LPAD(HEX(seq), 12, '0'))) AS id, (SELECT MAX(id) FROM standardattributes) + 1 + seq - $FIRST AS attr FROM seq_$FIRST_to_$LAST;
INSERT INTO standardattributes (id, resource_type, created_at, updated_at, description, revision_number) SELECT attr, 'ports', NOW(), NOW(), '', 1 FROM made;
INSERT INTO ports (project_id, id, name, network_id, mac_address, admin_state_up, status, device_id, device_owner, standard_attr_id)
  SELECT '$PROJECT', id, '', IF(first, '$MGMTNET', '$DATANET'), LOWER(CONCAT('fa:16:', LPAD(HEX(n DIV 16777216), 2, '0'), ':', LPAD(HEX(n DIV 65536 MOD 256), 2, '0'), ':',
    LPAD(HEX(n DIV 256 MOD 256), 2, '0'), ':', LPAD(HEX(n MOD 256), 2, '0'))), 1, 'ACTIVE', LOWER(CONCAT('$PREFIX-0000-4000-8000-', LPAD(HEX(i), 12, '0'))), 'compute:nova', attr FROM made;
INSERT INTO ipallocations (port_id, ip_address, subnet_id, network_id)
  SELECT id, INET_NTOA(IF(first, INET_ATON('$MGMT') + i, INET_ATON('$DATA') + n)), IF(first, '$MGMTSUB', '$DATASUB'), IF(first, '$MGMTNET', '$DATANET') FROM made;
INSERT INTO ml2_port_bindings (port_id, host, vif_type, vnic_type, profile, vif_details, status) SELECT id, '', 'unbound', 'normal', '', '', 'ACTIVE' FROM made;
INSERT INTO portsecuritybindings (port_id, port_security_enabled) SELECT id, 1 FROM made;`)
	if out, err := c.Host.Run(ctx, "mariadb", "neutron", "-e", sql); err != nil {
		return fmt.Errorf("putting ports into Neutron: %w\n%s", err, out)
	}
	return nil
}
